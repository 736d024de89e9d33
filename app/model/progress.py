"""How far a training is."""

from collections.abc import Callable
from dataclasses import dataclass

FITTING = "fitting"
"""The stage whose steps have an epoch and a loss."""


@dataclass(frozen=True, slots=True)
class Step:
    """A stage; while it fits, the epoch, how many there are at most, and the loss in tons²; 0 and None elsewhere."""

    stage: str
    epoch: int = 0
    epochs: int = 0
    loss: float | None = None


Progress = Callable[[Step], None]


def no_progress(step: Step) -> None:
    """Progress for nobody."""
