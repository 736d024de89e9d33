"""GET /: the page, for people who would rather look than read.

Its files are the same in every installation and tell nothing: they are open where reading is closed, since it is the
page that asks a person for the token.

All but the first file have a digest of all files in their path, so that they can be kept for ever: an upgrade has
other paths. They refer to each other relatively, and so work behind whatever prefix a proxy has put before them.
"""

import gzip
import hashlib
import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import PurePosixPath
from string import Template
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from app import PACKAGE
from app.api import encodings, headers
from app.api.represented import Represented
from app.errors import NotFound
from app.wire.media_types import HTML

router = APIRouter(include_in_schema=False, route_class=Represented)
file_router = APIRouter(include_in_schema=False)

INDEX, MISSING, VENDOR = "index.html", "missing.html", "vendor"
TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
"""Content types by the end of a file's name; others, such as the licences, are not served as they are."""
AHEAD = re.compile(r"(?:vendor/lit-html/(?:directives/)?)?(?!main|theme)[a-z-]+\.js")
"""Modules that every view needs: they are fetched at once, and not each when another one names it."""
FOR_EVER = "public, max-age=31536000, immutable"
PLOT_STYLES = (
    "'sha256-/jg3HOQ97BIOLIR7iXhepLJanBbw11P39q1Ne1E+6Jc='",
    "'sha256-jSYQUrW7J0b3jPqhZP9C2Xh1PyJKHKXd4s0fpGGKrww='",
)
"""Of the two style sheets that Observable Plot 0.6.17 puts into a chart and into the legend of a ramp."""
POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
    f"style-src 'self' {' '.join(PLOT_STYLES)}; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types lit-html"
)
PAGE = headers.ASK_AGAIN | {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}


@router.get("/")
def page() -> Response:
    """Return the page; where the set-up could not bring the libraries that it draws with, what to do about that."""
    return Response(_first(), headers=PAGE, media_type=HTML)


@file_router.get("/page/{digest}/{path:path}")
def file(request: Request, digest: str, path: str) -> Response:
    """Return one of its files, to be kept for ever under the path that has its digest.

    Raises:
        NotFound: there is no such file.
    """
    found = _files().get(path)
    if found is None:
        raise NotFound("the page has no such file: load it again")
    sent = {"Vary": "Accept-Encoding"}
    if digest == _digest():
        sent["Cache-Control"] = FOR_EVER
    media_type = TYPES[PurePosixPath(path).suffix]
    if encodings.wanted(request) != "gzip":
        return Response(found.read_bytes(), headers=sent, media_type=media_type)
    return Response(_compressed(path), headers=sent | {"Content-Encoding": "gzip"}, media_type=media_type)


@cache
def _first() -> str:
    name = INDEX if f"{VENDOR}/d3.min.js" in _files() else MISSING
    text = Template(_folder().joinpath(name).read_text("utf-8"))
    below = f"page/{_digest()}"
    links = (f'<link rel="modulepreload" href="{below}/{path}">' for path in _files() if AHEAD.fullmatch(path))
    return text.substitute(files=below, ahead="\n    ".join(links))


def _folder() -> Traversable:
    return files(PACKAGE) / "page"


@cache
def _files() -> dict[str, Traversable]:
    """Return what is served, by its path in the folder."""
    return dict(sorted(_below(_folder(), "")))


def _below(folder: Traversable, path: str) -> Iterator[tuple[str, Traversable]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _below(entry, f"{path}{entry.name}/")
        elif PurePosixPath(entry.name).suffix in TYPES:
            yield path + entry.name, entry


@cache
def _digest() -> str:
    """Return what tells these files from those of other releases."""
    digest = hashlib.blake2b(digest_size=8)
    for path, found in _files().items():
        digest.update(path.encode() + b"\0" + hashlib.blake2b(found.read_bytes()).digest())
    return digest.hexdigest()


@cache
def _compressed(path: str) -> bytes:
    """Return a file as it is sent: compressed once, when it is first asked for."""
    return gzip.compress(_files()[path].read_bytes(), mtime=0)
