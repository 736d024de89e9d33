"""The two wheels that are made of `app/`, each under an import name of its own.

``orchard-service`` holds all of it as `orchard_service`; ``orchard-client`` holds the client, and what it imports, as
`orchard_client`. In a checkout the folder is `app`, which many programs call their own too: so no wheel has it.
Nothing but import statements is rewritten: whatever else needs the name takes it from `app.PACKAGE`.

Hatchling calls `get_build_hook`, for ``pyproject.toml`` and for ``deploy/client/pyproject.toml``.
"""

import ast
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SOURCE = "app"
MARKER = "py.typed"
"""Says that the types of a package are to be believed (PEP 561)."""
SERVICE = {"app": "orchard_service"}
CLIENT = {"app.client": "orchard_client", "app": "orchard_client._common"}
"""What each package is called in a wheel; the longest name that fits counts."""
NAMES = {"orchard-service": SERVICE, "orchard-client": CLIENT}
"""By the name of the distribution."""

Files = dict[str, bytes]
"""The content of files by their path in a wheel."""


def service_files(root: Path = ROOT) -> Files:
    """Return what the service's wheel holds: all of `app/`."""
    paths = (path for path in sorted((root / SOURCE).rglob("*")) if path.is_file() and "__pycache__" not in path.parts)
    return {_path(root, path, SERVICE): _content(path, SERVICE) for path in paths}


def client_files(root: Path = ROOT) -> Files:
    """Return what the client's wheel holds: `app.client`, and whatever it imports, directly or not."""
    files = {_path(root, path, CLIENT): _content(path, CLIENT) for path in closure(root, "app.client").values()}
    top = CLIENT["app.client"]
    return files | {f"{top}/{MARKER}": b"", f"{top}/LICENSE": (root / "LICENSE").read_bytes()}


def closure(root: Path, start: str) -> dict[str, Path]:
    """Return the files of a package and of all that they import of `app`, also where it is for types alone."""
    waiting, found = list(_modules_below(root, start)), dict[str, Path]()
    while waiting:
        name = waiting.pop()
        path = _file(root, name)
        if path is None or name in found:
            continue
        found[name] = path
        waiting.append(name.rpartition(".")[0])
        for node in _imports(ast.parse(path.read_text())):
            waiting += [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
    return dict(sorted(found.items()))


def renamed(text: str, names: Mapping[str, str]) -> str:
    """Return a module's text with the packages that it imports from called by other names.

    Raises:
        ValueError: it imports `app` in a way that cannot be renamed.
    """
    lines = text.encode().splitlines(keepends=True)
    for node in _imports(ast.parse(text)):
        at, line = node.col_offset, lines[node.lineno - 1]
        old, new = (f"from {module} import".encode() for module in (node.module, _new_name(str(node.module), names)))
        if not line.startswith(old, at):
            raise ValueError(f"line {node.lineno}: write `from {node.module} import …`, with one space each")
        if node.module == SOURCE and any(f"{SOURCE}.{alias.name}" in names for alias in node.names):
            raise ValueError(f"line {node.lineno}: write `from {SOURCE}.{node.names[0].name} import …`")
        lines[node.lineno - 1] = line[:at] + new + line[at + len(old) :]
    return b"".join(lines).decode()


def _imports(tree: ast.AST) -> Iterator[ast.ImportFrom]:
    """Yield the statements that import from `app`, the last one first, so that those before stay where they are.

    Raises:
        ValueError: it is imported by a statement whose name is bound, and so used all over the module.
    """
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import) and any(_is_ours(alias.name) for alias in node.names):
            raise ValueError(f"line {node.lineno}: write `from {SOURCE} import …`, which can be renamed")
        if isinstance(node, ast.ImportFrom) and node.level:
            raise ValueError(f"line {node.lineno}: write `from {SOURCE}… import …`: relative imports are not looked at")
        if isinstance(node, ast.ImportFrom) and node.module and _is_ours(node.module):
            found.append(node)
    yield from sorted(found, key=lambda node: (node.lineno, node.col_offset), reverse=True)


def _is_ours(module: str) -> bool:
    return module == SOURCE or module.startswith(f"{SOURCE}.")


def _new_name(module: str, names: Mapping[str, str]) -> str:
    old = max((name for name in names if f"{module}.".startswith(f"{name}.")), key=len)
    return names[old] + module.removeprefix(old)


def _file(root: Path, module: str) -> Path | None:
    """Return a module's file; None for what is no module, such as a class in one."""
    path = root.joinpath(*module.split(".")) if module else root
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def _modules_below(root: Path, package: str) -> Iterator[str]:
    for path in root.joinpath(*package.split(".")).rglob("*.py"):
        yield ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def _path(root: Path, path: Path, names: Mapping[str, str]) -> str:
    """Return a file's path in a wheel."""
    folder = _new_name(".".join(path.parent.relative_to(root).parts), names)
    return "/".join([*folder.split("."), path.name])


def _content(path: Path, names: Mapping[str, str]) -> bytes:
    return renamed(path.read_text(), names).encode() if path.suffix == ".py" else path.read_bytes()


def get_build_hook() -> Any:
    """Return the class that hatchling builds wheels with."""
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface  # noqa: PLC0415 - only builds have it

    class Renamed(BuildHookInterface[Any]):  # type: ignore[misc, unused-ignore]
        """Puts the files of a wheel into it under their new names; what is installed as it stands keeps `app`."""

        def initialize(self, version: str, build_data: dict[str, Any]) -> None:
            """Write the files to a folder, and say where they go."""
            if version == "editable":
                return
            names = NAMES[self.metadata.core.name]
            files = service_files() if names is SERVICE else client_files()
            self.written = tempfile.TemporaryDirectory()
            for path, content in files.items():
                file = Path(self.written.name, path)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
                build_data["force_include"][str(file)] = path
            for name, target in self.metadata.core.scripts.items():
                module, _, function = target.partition(":")
                self.metadata.core.scripts[name] = f"{_new_name(module, names)}:{function}"

        def finalize(self, version: str, _build_data: dict[str, Any], _artifact: str) -> None:
            """Remove what was written."""
            if version != "editable":
                self.written.cleanup()

    return Renamed
