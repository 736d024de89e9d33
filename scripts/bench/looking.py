"""The page in a browser: what it weighs, how soon it answers, and how a moved slider is followed.

Needs Chromium, and playwright (extra `test`).
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from scripts.bench.servers import Server

MOVES = 300
"""Frames in which the slider moves."""
FIRST_ANSWER = ".answer .yield strong"
MOVED = """async (moves) => {
  const slider = document.querySelector(".feature input[type=range]");
  const [low, high] = [Number(slider.min), Number(slider.max)];
  const last = [...document.querySelectorAll(".curves orchard-chart")].at(-1);
  const frame = () => new Promise(requestAnimationFrame);
  const waiting = [], drawn = [], frames = [];
  // The last of the curves is put in its place in a frame; a message is received once that frame has been painted.
  const painted = new MessageChannel();
  painted.port1.onmessage = ({ data }) => data.forEach((began) => drawn.push(performance.now() - began));
  new MutationObserver(() => painted.port2.postMessage(waiting.splice(0))).observe(last, { childList: true });
  for (let move = 0; move < moves; move += 1) {
    await frame();
    frames.push(performance.now());
    slider.value = low + (high - low) * (0.5 + 0.4 * Math.sin(move / 20));
    waiting.push(performance.now());
    slider.dispatchEvent(new Event("input", { bubbles: true }));
  }
  await new Promise((resolve) => setTimeout(resolve, 500));
  return { drawn, between: frames.slice(1).map((at, place) => at - frames[place]) };
}"""
"""Moves the first slider once a frame, and returns how long each move took until it was painted, ms."""
LOADED = """() => performance.getEntriesByType("resource").concat(performance.getEntriesByType("navigation"))
  .filter(({ name }) => name.includes("/page/") || name === location.href.split("#")[0])
  .map(({ transferSize }) => transferSize)"""
"""Bytes on the wire of each of the page's files."""


@dataclass(frozen=True)
class Look:
    """One visit by a browser that has nothing of the page: ``kilobytes`` on the wire, 10³ bytes; times in ms.

    ``drawn``: from each move of a slider until its curves were painted. ``between``: from frame to frame.
    """

    files: int
    kilobytes: float
    first_answer: float
    drawn: Sequence[float]
    between: Sequence[float]


def is_possible() -> bool:
    """Say whether there is a browser, and what drives it."""
    return shutil.which("chromium") is not None and find_spec("playwright") is not None


def looks(server: Server, visits: int) -> list[Look]:
    """Visit the page with a new browser each time: curves of two crops and three features follow the slider."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - the rest of the benchmark goes without

    found = []
    with sync_playwright() as driver:
        for _ in range(visits):
            browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.goto(f"http://127.0.0.1:{server.port}/", wait_until="commit")
            page.wait_for_selector(FIRST_ANSWER)
            first_answer = page.evaluate("performance.now()")
            page.wait_for_selector(".curves orchard-chart svg")
            page.wait_for_timeout(1_000)  # the map has been drawn, and what is known of the page settles
            sizes: list[int] = page.evaluate(LOADED)
            moved: dict[str, Any] = page.evaluate(MOVED, MOVES)
            found.append(Look(len(sizes), sum(sizes) / 1e3, first_answer, moved["drawn"], moved["between"]))
            browser.close()
    return found
