"""What a training is asked to do. Crosses from the serving process to the training process."""

import pickle
from dataclasses import dataclass
from typing import Literal

from app.data.engines import Elsewhere
from app.data.provenance import Once, Provenance
from app.data.table_file import TableFile
from app.data.tables import Table
from app.training.report import Activate


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to fit: None takes the recipe's own default."""

    name: Literal["descent", "tutorial"] = "descent"
    epochs: int | None = None
    learning_rate: float | None = None
    batch_size: int | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class PackedTable:
    """A table that was read in another process: a pickle, which the serving process only hands on."""

    content: bytes

    def unpacked(self) -> Table:
        """Return the table."""
        table = pickle.loads(self.content)  # noqa: S301 - from a process of this service
        assert isinstance(table, Table)  # noqa: S101 - what it was made of
        return table


@dataclass(frozen=True, slots=True)
class Order:
    """One training.

    ``table``: the rows that come with it, or where they are, if any; those that Spark learns must be ``alone``.
    ``alone``: train on these rows only, and withdraw all other batches once the version is kept; otherwise they are
    added to what is stored.
    """

    provenance: Provenance
    table: Table | TableFile | PackedTable | Elsewhere | None = None
    alone: bool = False
    activate: Activate = "if_better"
    dry_run: bool = False
    recipe: Recipe = Recipe()
    once: Once | None = None
