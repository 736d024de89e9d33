"""Takes the pictures of the page that the README shows, from a running service with the example's model.

``.venv/bin/python scripts/pictures.py`` writes ``deploy/pictures/*.webp``. Needs Chromium, and playwright, which the
extra `test` brings.
"""

import base64
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from playwright.sync_api import Page, ViewportSize, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts.bench.servers import ORCHARD, Server, serving

PICTURES = ROOT / "deploy" / "pictures"
MOST_BYTES = 200_000
QUALITY = 82
CORES = "0,1"
SIZE: ViewportSize = {"width": 1280, "height": 917}


@dataclass(frozen=True)
class Picture:
    """A picture: where it is taken, in which theme, and what is waited for."""

    name: str
    address: str
    theme: Literal["light", "dark"]
    awaited: str


WANTED = (
    Picture("ask", "#/ask?temperature=88&rainfall=112&humidity=58&a=80,84,50", "light", ".curves orchard-chart svg"),
    Picture("model", "#/model", "dark", "orchard-chart svg"),
)


def main() -> None:
    """Take them all.

    Raises:
        SystemExit: there is no browser, or a picture is too large for a README.
    """
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("there is no Chromium: apt-get install chromium")
    PICTURES.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as store,
        serving(ORCHARD, CORES, Path(store)) as server,
        sync_playwright() as driver,
    ):
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        token = (Path(store) / "token").read_text().strip()
        for picture in WANTED:
            page = browser.new_page(viewport=SIZE, color_scheme=picture.theme)
            path = PICTURES / f"{picture.name}.webp"
            path.write_bytes(_taken(page, server, token, picture))
            if path.stat().st_size > MOST_BYTES:
                raise SystemExit(f"{path} has {path.stat().st_size} bytes, more than {MOST_BYTES}")
            print(f"{path.relative_to(ROOT)}: {path.stat().st_size} bytes")
        browser.close()


def _taken(page: Page, server: Server, token: str, picture: Picture) -> bytes:
    """Open a view as its owner sees it, and return it as WebP."""
    page.goto(f"http://127.0.0.1:{server.port}/{picture.address}")
    page.get_by_role("button", name="Reading only").click()
    page.get_by_label("Token", exact=True).fill(token)
    page.get_by_role("button", name="Use it").click()
    page.wait_for_selector(picture.awaited)
    page.wait_for_timeout(1_500)  # what is drawn when nothing moves any more
    session = page.context.new_cdp_session(page)
    taken = session.send("Page.captureScreenshot", {"format": "webp", "quality": QUALITY})
    return base64.b64decode(taken["data"])


if __name__ == "__main__":
    main()
