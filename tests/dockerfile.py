"""The Dockerfile, read: its stages, and what each target consists of."""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGETS = ["serve", "whole"]


@dataclass(frozen=True, slots=True)
class Stage:
    """One FROM: its name, what it builds on, and its instructions in order."""

    name: str
    base: str
    instructions: list[tuple[str, str]]


def _stages() -> dict[str, Stage]:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    without_comments = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    stages: dict[str, Stage] = {}
    for line in without_comments.replace("\\\n", " ").splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            stages[name] = Stage(name, base, [])
        elif word:
            list(stages.values())[-1].instructions.append((word, rest.strip()))
    return stages


STAGES = _stages()


def lineage(target: str) -> list[Stage]:
    """Return the stages that a target consists of, the first one first."""
    stage = STAGES[target]
    return [*(lineage(stage.base) if stage.base in STAGES else []), stage]


def all_of(target: str, word: str) -> list[str]:
    """Return what a target says in each of its instructions of a kind, in order."""
    return [rest for stage in lineage(target) for kind, rest in stage.instructions if kind == word]


def environment(target: str) -> dict[str, str]:
    """Return the variables that a target sets."""
    return dict(pair.split("=", 1) for rest in all_of(target, "ENV") for pair in rest.split())
