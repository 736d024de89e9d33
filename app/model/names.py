"""Names of many rows, each kept once."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Self, overload

import numpy as np
from numpy.typing import NDArray


class Names(Sequence[str | None]):
    """n names: the different ones, and for each row which it is, -1 for none."""

    def __init__(self, names: Sequence[str], codes: NDArray[np.int32]) -> None:
        """``codes``: shape (n,)."""
        self.names = names
        self.codes = codes

    @classmethod
    def of(cls, names: Iterable[str | None]) -> Self:
        """Take them from one name a row; an empty one counts as no name. What is coded already stays as it is."""
        if isinstance(names, cls):
            return names
        numbers: dict[str, int] = {}
        codes = np.fromiter((numbers.setdefault(name, len(numbers)) if name else -1 for name in names), np.int32)
        return cls(tuple(numbers), codes)

    def __len__(self) -> int:
        return len(self.codes)

    @overload
    def __getitem__(self, row: int) -> str | None: ...
    @overload
    def __getitem__(self, row: slice) -> Self: ...
    def __getitem__(self, row: int | slice) -> "str | Self | None":
        if isinstance(row, slice):
            return type(self)(self.names, self.codes[row])
        code = int(self.codes[row])
        return self.names[code] if code >= 0 else None

    def __iter__(self) -> Iterator[str | None]:
        return (self.names[code] if code >= 0 else None for code in self.codes.tolist())


def packed_names(names: Sequence[str | None]) -> NDArray[np.uint8]:
    """Return names as an array of bytes, for a file of arrays.

    Not for the file's header, which has a limit that a hundred thousand long names exceed.
    """
    return np.frombuffer(json.dumps(list(names), ensure_ascii=False).encode(), np.uint8)


def unpacked_names(packed: NDArray[np.uint8]) -> Any:
    """Return what `packed_names` has packed.

    Raises:
        ValueError: it is not what was packed.
    """
    return json.loads(packed.tobytes())
