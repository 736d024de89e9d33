"""A real browser for tests of the page: Debian's Chromium, and axe to judge what it shows.

Each visit collects what must not be: errors in the console, violations of the content policy, requests to other hosts,
answers that are errors, and dialogs of scripts.
"""

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import pytest

from tests.running import ROOT, Running

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Dialog, Page, Request, Response

NEEDED = "ORCHARD_TESTS_NEED_BROWSER"
"""Set where a test that cannot run is a failure: in continuous integration."""
WIDE, NARROW, HEIGHT = 1280, 320, 900
THEMES = ("light", "dark")
VIEWS = ("ask", "model", "versions", "teach", "record", "watch")
WITHIN_MS = 20_000
FAILED_LOAD = "Failed to load resource"
"""How the console begins of an answer that is an error; these are collected as answers."""
REPORT = """addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`));"""
UNSEEN = """() => [...document.querySelectorAll("#page :is(a, button, summary, [role=button])")].filter((each) => {
  const { color, backgroundColor } = getComputedStyle(each);
  return each.checkVisibility() && each.innerText.trim() && color === backgroundColor;
}).map((each) => each.outerHTML)"""
"""What can be clicked and is written in the colour of its ground, which axe takes for hidden on purpose."""
QUIET = """() => !document.querySelector("#page [aria-busy=true]")"""


def lacking() -> str | None:
    """Say what the page's tests lack here, None where they have all."""
    if importlib.util.find_spec("playwright") is None or importlib.util.find_spec("axe_playwright_python") is None:
        return "playwright or axe-playwright-python is not installed"
    if shutil.which("chromium") is None:
        return "no chromium is installed"
    if not (ROOT / "app" / "page" / "vendor" / "d3.min.js").is_file():
        return "the page's libraries are not there: run scripts/page.py where there is a network"
    return None


def require_browser() -> None:
    """Skip the test where something is lacking; fail where nothing may be."""
    if (why := lacking()) is None:
        return
    if os.environ.get(NEEDED):
        pytest.fail(f"{why}, and {NEEDED} is set")
    pytest.skip(why)


@contextmanager
def chromium() -> Iterator["Browser"]:
    """Run a browser until the end of the block."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - what only serves has no browser

    with sync_playwright() as playwright:
        # Root, who runs tests in containers, has to do without its sandbox; the pages are this project's own.
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Visit:
    """A page of a browser at a service, and what was wrong with it."""

    page: "Page"
    url: str
    """The page's own, with a slash at its end."""
    faults: list[str] = field(default_factory=list)
    allowed: set[int] = field(default_factory=set)
    """Statuses that are errors and belong to the test; 0: no answer."""

    @classmethod
    def begin(cls, context: "BrowserContext", url: str) -> "Visit":
        """Open an empty page that collects from now on."""
        context.set_default_timeout(WITHIN_MS)
        context.add_init_script(REPORT)
        visit = cls(context.new_page(), url)
        page = visit.page
        page.on("console", lambda said: visit._console(said.type, said.text))
        page.on("pageerror", lambda error: visit.faults.append(f"error: {error}"))
        page.on("dialog", visit._dialog)
        page.on("request", visit._request)
        page.on("response", visit._response)
        page.on("requestfailed", visit._failed)
        return visit

    def _console(self, kind: str, text: str) -> None:
        if kind in {"error", "warning"} and not text.startswith(FAILED_LOAD):
            self.faults.append(f"console {kind}: {text}")

    def _dialog(self, dialog: "Dialog") -> None:
        self.faults.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _request(self, request: "Request") -> None:
        asked = urlsplit(request.url)
        if asked.scheme not in {"data", "blob"} and asked.netloc != urlsplit(self.url).netloc:
            self.faults.append(f"another host: {request.url}")

    def _response(self, response: "Response") -> None:
        if response.status >= 400 and response.status not in self.allowed:
            self.faults.append(f"{response.status}: {response.request.method} {response.url}")

    def _failed(self, request: "Request") -> None:
        # A question that is given up is aborted by the page itself.
        if 0 not in self.allowed and request.failure != "net::ERR_ABORTED":
            self.faults.append(f"no answer: {request.url} {request.failure}")

    def go(self, route: str = "#/ask") -> None:
        """Open a view by its address, and wait until nothing is on its way."""
        here = urlsplit(self.page.url)
        if f"{here.scheme}://{here.netloc}{here.path}" == self.url:
            self.page.evaluate("(to) => { location.hash = to }", route)
        else:
            self.page.goto(self.url + route)
        view = route.removeprefix("#/").partition("?")[0].partition("/")[0]
        self.page.locator(f"main.view-{view}").wait_for()
        self.settle()

    def settle(self) -> None:
        """Wait until nothing is on its way, and charts are drawn."""
        self.page.locator("main h1").wait_for()
        self.page.wait_for_function(QUIET)
        self.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def sign_in(self, running: Running) -> None:
        """Give the token of who may write, in the dialog."""
        self.page.get_by_role("button", name="Reading only").click()
        dialog = self.page.locator("#token-dialog")
        dialog.get_by_label("Token", exact=True).fill(running.write["Authorization"].removeprefix("Bearer "))
        dialog.get_by_role("button", name="Use it").click()
        self.page.locator(".who summary", has_text="Writing").wait_for()
        self.settle()

    def text(self, selector: str = "main") -> str:
        """Return what is to be read in the first of such elements."""
        return self.page.locator(selector).first.inner_text()

    def judge(self, widths: tuple[int, ...] = (WIDE,), themes: tuple[str, ...] = THEMES) -> None:
        """See that what is shown is accessible and fits, in each width and theme."""
        for width in widths:
            self.page.set_viewport_size({"width": width, "height": HEIGHT})
            self.settle()
            for theme in themes:
                self.page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
                where = f"{self.page.url} {width} px {theme}"
                assert self.overflow() <= 0, f"{where}: wider than the screen by {self.overflow()} px"
                assert violations(self.page) == [], where
                assert self.page.evaluate(UNSEEN) == [], where

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than its window."""
        wider: int = self.page.evaluate(
            "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        return wider

    def module(self, path: str) -> str:
        """Return the address of one of the page's modules, to be imported in the page."""
        main = self.page.locator('script[src$="main.js"]').get_attribute("src") or ""
        return main.removesuffix("main.js") + path


def visiting(browser: "Browser", running: Running, path: str = "/") -> Visit:
    """Return a visit at a service, in a context of its own."""
    context = browser.new_context(viewport={"width": WIDE, "height": HEIGHT}, reduced_motion="reduce")
    return Visit.begin(context, str(running.client.base_url).rstrip("/") + path)


class Start(Protocol):
    """What starts a service of its own for a test."""

    def __call__(self, prepare: Callable[[Path], object] | None = None, **settings: str) -> Running:
        """Start it, after ``prepare`` has had its way with its store."""
        ...


class VisitAt(Protocol):
    """What begins a visit that is judged at the test's end."""

    def __call__(self, running: Running, path: str = "/") -> Visit:
        """Begin it at a service."""
        ...


def violations(page: "Page") -> list[str]:
    """Return what axe has against a page: the rule, and each element."""
    page.evaluate(_axe())
    found: list[dict[str, Any]] = page.evaluate(
        "async () => (await axe.run({ resultTypes: ['violations'] })).violations"
    )
    return [f"{rule['id']}: {node['html'][:200]} {node['failureSummary']}" for rule in found for node in rule["nodes"]]


@cache
def _axe() -> str:
    from axe_playwright_python.base import AXE_SCRIPT  # noqa: PLC0415 - as above

    return str(AXE_SCRIPT)
