"""What is asked: regions as columns of weather, whatever format they came in."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from app.data.dialect import PLAIN as PLAIN_CSV
from app.data.dialect import Dialect
from app.model.moments import Array
from app.model.units import STORED, Units
from app.model.weather import FEATURE_NAMES

Shape = Literal["one", "several", "columns"]
Regions = Sequence[str | None]


class Question:
    """Regions as columns, and the shape that they came in."""

    def __init__(
        self,
        shape: Shape,
        regions: Regions | None,
        weather: Sequence[Array],
        header: Sequence[str] = (),
        *,
        columns: Mapping[str, Any] | None = None,
        units: Units = STORED,
        dialect: Dialect = PLAIN_CSV,
    ) -> None:
        """``weather``: one contiguous array, shape (n,), per feature, as it is stored. ``header``: a table's columns.

        ``columns``: all of a table as they were sent, with numbers in ``units``, those of who asks. ``dialect``: how
        the table was written.
        """
        self.shape = shape
        self.weather = weather
        self.units = units
        self.dialect = dialect
        self.has_regions = regions is not None
        self.regions: Regions = regions if regions is not None else (None,) * len(weather[0])
        named = regions is not None and any(regions)
        self.header: Sequence[str] = header or [*(["region"] if named else []), *FEATURE_NAMES]
        self._columns = columns

    @property
    def columns(self) -> Mapping[str, Any]:
        """Return what was asked as a table's columns, in their order, numbers in the units of who asks."""
        if self._columns is not None:
            return self._columns
        given = dict(zip(FEATURE_NAMES, self.units.given(self.weather), strict=True))
        return {name: self.regions if name == "region" else given[name] for name in self.header}

    def __len__(self) -> int:
        return len(self.weather[0])
