#!/usr/bin/env python3
"""Counts the house: files and lines by room, arrows between rooms and inside them, functions by length.

``scripts/map.py [TREE]``: of this tree, or of another checkout. The floors are those that ARCHITECTURE.md draws;
tests/test_architecture.py holds the tree against them.
"""

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

FLOORS = (
    ("errors",),
    ("faults", "stored_formats", "settings", "memory", "logs", "stopping", "parent", "shared"),
    ("model",),
    ("store", "data"),
    ("training",),
    ("serving",),
    ("wire",),
    ("api", "client"),
    ("main", "cli"),
    ("__main__",),
)
"""A room may import from its own and lower floors; rooms on the same floor do not know each other."""
STRANGERS = {("cli", "api")}
"""Rooms that do not know each other although one lies below: the command line must not need a server."""
INSIDE = {
    "wire": (
        ("dashboard", "given", "media_types", "parts", "positions", "problems", "questions", "schemas", "strict_json"),
        (
            "answers",
            "arrow_stream",
            "event_stream",
            "protocol",
            "quick_json",
            "records",
            "scores",
            "season",
            "spans",
            "validation",
        ),
        ("csv_body", "daily", "features", "row_template", "texts"),
        ("foretold", "open_meteo", "power", "reported"),
        ("forecasts", "weather_body"),
        ("geojson", "json_body"),
        ("formats", "tensors"),
    ),
    "api": (
        ("address", "headers", "helper", "latest", "limits", "negotiation", "pool", "tokens", "units"),
        ("problems",),
        ("concurrency", "cors", "encodings", "hosts", "request_id"),
        ("represented", "services"),
        ("openapi",),
        ("bodies", "exported", "express", "guards", "health", "large", "metrics", "page"),
        ("doors",),
        (
            "access",
            "door",
            "events",
            "grafana",
            "inference",
            "models",
            "observations",
            "predict",
            "retrain",
            "scores",
        ),
        ("forecasts", "link"),
    ),
}
"""The same inside the two largest rooms, file by file."""


@dataclass(frozen=True)
class Module:
    """A file of ``app/``: its lines, what it imports of ``app`` (not for types alone), the lines of its functions."""

    name: str
    lines: int
    imports: frozenset[str]
    functions: tuple[int, ...]

    @property
    def room(self) -> str:
        """The folder, or the file at the top, that it belongs to."""
        return self.name.split(".")[1] if "." in self.name else "__init__"


def modules(tree: Path) -> list[Module]:
    """Return the modules of a checkout."""
    paths = {_name(path, tree): path for path in sorted((tree / "app").rglob("*.py"))}
    return [_module(name, path, paths) for name, path in paths.items()]


def _name(path: Path, tree: Path) -> str:
    return ".".join(path.relative_to(tree).with_suffix("").parts).removesuffix(".__init__")


def _module(name: str, path: Path, known: dict[str, Path]) -> Module:
    text = path.read_text()
    tree = ast.parse(text)
    lengths = tuple(
        (node.end_lineno or node.lineno) - node.lineno + 1
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    return Module(name, len(text.splitlines()), frozenset(_imports(tree, known)) - {name}, lengths)


def _imports(tree: ast.AST, known: dict[str, Path]) -> Iterator[str]:
    """Yield the modules that are imported when the program runs."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "app":
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in known else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        yield from _imports(node, known)


def floor_of(room: str) -> int:
    """Return the floor of a room, the lowest 0.

    Raises:
        KeyError: it is on none.
    """
    return {name: floor for floor, names in enumerate(FLOORS) for name in names}[room]


def arrows_up(found: list[Module]) -> list[str]:
    """Return the imports that go up, or to another room of the same floor."""
    wrong = [
        f"{module.name} imports {name}"
        for module in found
        for name in module.imports
        if (room := name.split(".")[1] if "." in name else "__init__") not in {module.room, "__init__"}
        and (floor_of(room) >= floor_of(module.room) or (module.room, room) in STRANGERS)
    ]
    for room, floors in INSIDE.items():
        level = {name: floor for floor, names in enumerate(floors) for name in names}
        inside = {module.name: module for module in found if module.name.count(".") > 1 and module.room == room}
        wrong += [
            f"{module.name} imports {name}"
            for module in inside.values()
            for name in module.imports & set(inside)
            if (first := name.split(".")[2]) != (mine := module.name.split(".")[2]) and level[first] >= level[mine]
        ]
    return wrong


def circles(found: list[Module]) -> list[list[str]]:
    """Return the circles in which modules import each other."""
    graph, done, wrong = {module.name: module.imports for module in found}, set[str](), list[list[str]]()

    def visit(name: str, path: list[str]) -> None:
        if name in path:
            wrong.append([*path[path.index(name) :], name])
        elif name not in done:
            for inner in sorted(graph[name]):
                visit(inner, [*path, name])
            done.add(name)

    for name in graph:
        visit(name, [])
    return wrong


def _lines(folder: Path) -> int:
    return sum(len(path.read_text().splitlines()) for path in folder.rglob("*.py"))


def main() -> None:
    """Print the counts."""
    tree = Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    found = modules(tree)
    print(f"{'room':16}{'files':>7}{'lines':>7}")
    for room in dict.fromkeys(module.room for module in found):
        mine = [module for module in found if module.room == room]
        print(f"{room:16}{len(mine):7}{sum(module.lines for module in mine):7}")
    print(f"{'all':16}{len(found):7}{sum(module.lines for module in found):7}\n")
    arrows = Counter(
        (module.room, name.split(".")[1])
        for module in found
        for name in module.imports
        if "." in name and name.split(".")[1] != module.room
    )
    print(f"{len(arrows)} arrows between rooms, by {sum(arrows.values())} imports:")
    for (room, other), count in sorted(arrows.items()):
        print(f"  {room} -> {other} ({count})")
    for room in ("api", "wire"):
        inside = sum(len({n for n in m.imports if n.split(".")[1:2] == [room]}) for m in found if m.room == room)
        print(f"{inside} arrows inside {room}")
    print(f"{len(circles(found))} circles")
    lengths = sorted(length for module in found for length in module.functions)
    tenths = quantiles(lengths, n=10)
    print(f"functions: {len(lengths)}; lines: median {median(lengths):g}, 90th percentile {tenths[8]:g}, {lengths[-1]}")
    source, tests = _lines(tree / "app"), _lines(tree / "tests")
    print(f"tests : source = {tests} : {source} lines = {tests / source:.2f}")
    noqa = sum(path.read_text().count("# noqa") for path in (tree / "app").rglob("*.py"))
    print(f"noqa in app: {noqa}")
    try:
        for arrow in arrows_up(found):
            print(f"up: {arrow}")
    except KeyError as error:
        print(f"other rooms than today's, so no floors: {error}")


if __name__ == "__main__":
    main()
