"""What a request is addressed to: a path with or without a slash at its end, and a query of known names.

What a call does not understand it does not pass over: who writes `dry-run` for `dry_run` would train.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from fastapi import Request
from fastapi.dependencies.models import Dependant
from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import FieldError
from app.faults import MAX_ERRORS, Faults

SHOWN = 100
"""Characters of a name that a message repeats."""
HEAD = "head"
"""In the scope of a request that only asks for the head of an answer: what would not end by itself has no body then."""
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


class Prefixed:
    """Takes off the prefix that a proxy has put before all paths, and left there; a path without it is as good."""

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
            }
        await self._app(scope, receive, send)


class Addressed:
    """Answers HEAD as it would GET, and a path with a slash at its end as the one without: no redirect names a host."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on under its plain address."""
        if scope["type"] != "http" or not (changed := _plain(scope)):
            await self._app(scope, receive, send)
            return
        # A copy: the server looks at the method too, and sends no body after HEAD.
        plain = {**scope, **changed}
        try:
            await self._app(plain, receive, send)
        finally:
            scope["route"] = plain.get("route")  # requests are counted by it


def _plain(scope: Scope) -> dict[str, str]:
    """Return what of a request's address is another one in plain."""
    changed = {"method": "GET", HEAD: "HEAD"} if scope["method"] == "HEAD" else {}
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    if path.endswith("/") and path not in ("/", PAGE) and scope.get("raw_path", b"/").endswith(b"/"):
        changed["path"] = scope["path"][:-1]
    return changed
