"""Pages of documentation, read for what is in them: sections, and the blocks of code in each."""

import re
from dataclasses import dataclass
from pathlib import Path

from tests.running import ROOT

FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PART = re.compile(r"^#+ ([^\n]+)$|^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
"""A heading, or a block; what begins like a heading inside a block is part of that."""
LINK = re.compile(r"\]\(([^)\s]+)\)")


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code: its language, and its text."""

    kind: str
    text: str


def sections(page: str) -> dict[str, list[Block]]:
    """Return the blocks of a page of the project, by the heading that they stand below, in their order."""
    found: dict[str, list[Block]] = {}
    heading = ""
    for head, kind, code in PART.findall((ROOT / page).read_text()):
        heading = head or heading
        found.setdefault(heading, [])
        if kind:
            found[heading].append(Block(kind, code))
    return found


def dead_links(page: str) -> list[str]:
    """Return the links of a page that lead to files or headings of the project which do not exist."""
    path = ROOT / page
    return [link for link in LINK.findall(path.read_text()) if "://" not in link and not _leads(path, link)]


def _leads(path: Path, link: str) -> bool:
    name, _, anchor = link.partition("#")
    target = path.parent / name if name else path
    return target.exists() and (not anchor or anchor in _anchors(target))


def _anchors(page: Path) -> set[str]:
    """Return what links to the headings of a page end with, as GitHub makes it of them."""
    plain = FENCE.sub("", page.read_text())
    heads = re.findall(r"^#+ (.+)$", plain, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
