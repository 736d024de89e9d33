"""What a request is addressed to: a path with or without a slash at its end, and a query of known names.

What a call does not understand it does not pass over: who writes `dry-run` for `dry_run` would train.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from fastapi import Request
from fastapi.dependencies.models import Dependant
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import FieldError
from app.faults import MAX_ERRORS, Faults
from app.settings import PREFIX_OF_PATHS

SHOWN = 100
"""Characters of a name that a message repeats."""
HEAD = "head"
"""In the scope of a request that only asks for the head of an answer: what would not end by itself has no body then."""
BARE = "bare"
"""In the scope of a request for nothing but the prefix, without a slash at its end: the prefix."""
FORWARDED, LONGEST_PREFIX = "X-Forwarded-Prefix", 200
"""The header in which a proxy tells the prefix that it has taken off; characters of one that is believed."""
PAGE = "/docs/"
"""A page's links begin where its path ends: it leads to the one without the slash."""


async def check_query(request: Request) -> None:
    """Check that the query gives only names that the call knows, and each once.

    Raises:
        InvalidInput: it does not; the names it knows are listed, the nearest first.
    """
    if not request.scope["query_string"]:
        return
    given = Counter(name for name, _ in request.query_params.multi_items())
    known = list(_known(request.scope["route"].dependant))
    wrong = [name for name, count in given.items() if count > 1 or name not in known]
    if wrong:
        faults = Faults()
        faults.add_many(_faults(wrong[:MAX_ERRORS], known), len(wrong))
        faults.raise_if_any(placed=True)


def _known(call: Dependant) -> Iterator[str]:
    """Yield the query's names that a call declares, and what it depends on."""
    yield from (parameter.alias for parameter in call.query_params)
    for inner in call.dependencies:
        yield from _known(inner)


def _faults(wrong: Sequence[str], known: Sequence[str]) -> Iterator[FieldError]:
    for name in wrong:
        place = ("query", name[:SHOWN])
        if name in known:
            yield FieldError(place, "is given twice", "twice")
        else:
            yield FieldError(place, f"is unknown here: {_instead(name[:SHOWN], known)}", "unknown")


def _instead(name: str, known: Sequence[str]) -> str:
    if not known:
        return "this call takes no query"
    near = get_close_matches(name, known, 1)
    listed = ", ".join(map(repr, known))
    return f"did you mean {near[0]!r}? This call knows {listed}" if near else f"this call knows {listed}"


def prefix_of(request: Request) -> str:
    """Return the prefix of all paths as who asks writes them, such as ``/orchard``; nothing where there is none.

    It is ORCHARD_ROOT_PATH; where that is not set, what proxies tell in X-Forwarded-Prefix, each of which takes its own
    off, the outermost first. One that is no prefix is passed over.

    Anybody can send that header, and it needs no proxy that is trusted: it changes what paths are called in the one
    answer to who has sent it (the document's server, where a 404 says that things are), and neither which call is
    meant nor who may make it. It can name no host, and these answers are kept by no cache (``no-store``), which would
    give them to others.
    """
    here: str = request.app.state.services.settings.root_path
    return here or _joined(request.headers.getlist(FORWARDED))


def _joined(told: Sequence[str]) -> str:
    prefixes = [one.strip().removesuffix("/") for one in ",".join(told).split(",")]
    joined = "".join(prefixes)
    is_one = len(joined) <= LONGEST_PREFIX and all(map(PREFIX_OF_PATHS.fullmatch, prefixes))
    return joined if is_one else ""


class Prefixed:
    """Takes off the prefix that a proxy has put before all paths, and left there; a path without it is as good.

    A request for the prefix alone is marked: `Addressed` leads it on.
    """

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        """``prefix``: as ORCHARD_ROOT_PATH has it, such as ``/orchard``."""
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on under the path that this service knows."""
        if scope["type"] == "http" and f"{scope['path']}/".startswith(f"{self._prefix}/"):
            raw = scope.get("raw_path") or b""
            scope = {
                **scope,
                "path": scope["path"].removeprefix(self._prefix) or "/",
                "raw_path": raw.removeprefix(self._prefix.encode()) or b"/",
                **({BARE: self._prefix} if scope["path"] == self._prefix else {}),
            }
        await self._app(scope, receive, send)


class Addressed:
    """Answers HEAD as it would GET, and a path with a slash at its end as the one without: no redirect names a host.

    The prefix alone leads to the one with a slash: the links of the page there begin where its path ends.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on under its plain address."""
        if BARE in scope and scope["method"] in ("GET", "HEAD"):
            await RedirectResponse(_below(scope[BARE], scope["query_string"]))(scope, receive, send)
            return
        if scope["type"] != "http" or not (changed := _plain(scope)):
            await self._app(scope, receive, send)
            return
        # A copy: the server looks at the method too, and sends no body after HEAD.
        plain = {**scope, **changed}
        try:
            await self._app(plain, receive, send)
        finally:
            scope["route"] = plain.get("route")  # requests are counted by it


def _below(prefix: str, query: bytes) -> str:
    """Return where a prefix without a slash leads: relatively, since nobody vouches for the Host header."""
    last = prefix.rpartition("/")[2]
    return f"{last}/?{query.decode('latin-1')}" if query else f"{last}/"


def _plain(scope: Scope) -> dict[str, str]:
    """Return what of a request's address is another one in plain."""
    changed = {"method": "GET", HEAD: "HEAD"} if scope["method"] == "HEAD" else {}
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    if path.endswith("/") and path not in ("/", PAGE) and scope.get("raw_path", b"/").endswith(b"/"):
        changed["path"] = scope["path"][:-1]
    return changed
