"""What is asked: regions as columns of weather, whatever format they came in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal

import numpy as np

from app.data.dialect import PLAIN as PLAIN_CSV
from app.data.dialect import Dialect
from app.errors import FieldError
from app.faults import Faults
from app.model.moments import Array
from app.model.units import STORED, Units
from app.model.weather import ALL, FEATURE_NAMES, Needs

Shape = Literal["one", "several", "columns"]
Regions = Sequence[str | None]


@dataclass(frozen=True, slots=True)
class BodyOptions:
    """What the query says about how a body is to be read; None where it says nothing.

    The days of a season, both included, and the name of the one region, of bodies that hold days of weather.
    """

    season_start: date | None = None
    season_end: date | None = None
    region: str | None = None
    units: Units = STORED
    """Those that the weather is in, where a table's header does not say."""
    needs: Needs = field(default_factory=lambda: ALL)
    """The features that must be there: those of the model that is asked."""

    def check_of_rows(self) -> None:
        """Check that nothing is said that only a body with days could follow.

        Raises:
            InvalidInput: something is.
        """
        faults = Faults()
        for name in ("season_start", "season_end", "region"):
            if getattr(self, name) is not None:
                message = "goes with the days of a body of Open-Meteo or NASA POWER, which this is not: leave it out"
                faults.add(FieldError(("query", name), message, "not_here"))
        faults.raise_if_any(placed=True)


PLAIN = BodyOptions()
"""The query says nothing."""


@dataclass(frozen=True, slots=True)
class Original:
    """A body of GeoJSON as it came, and with its positions blanked (`app.wire.positions`), both of one length."""

    body: bytes
    plain: bytes


class Question:
    """Regions as columns, and the shape that they came in.

    ``original``: the body that its answer, as GeoJSON, is written into; None where it was not GeoJSON.
    """

    original: Original | None = None

    def __init__(
        self,
        shape: Shape,
        regions: Regions | None,
        weather: Sequence[Array],
        header: Sequence[str] = (),
        notes: Sequence[Sequence[str]] = (),
        *,
        columns: Mapping[str, Any] | None = None,
        units: Units = STORED,
        dialect: Dialect = PLAIN_CSV,
    ) -> None:
        """``weather``: one contiguous array, shape (n,), per feature, as it is stored; NaN where it was not given.

        ``header``: a table's columns.
        ``notes``: of each region, what has to be said of how its weather was read; none at all where there is nothing.
        ``columns``: all of a table as they were sent, with numbers in ``units``, those of who asks. ``dialect``: how
        the table was written.
        """
        self.shape = shape
        self.weather = weather
        self.notes = notes
        self.units = units
        self.dialect = dialect
        self.has_regions = regions is not None
        self.regions: Regions = regions if regions is not None else (None,) * len(weather[0])
        named = regions is not None and any(regions)
        given = [name for name, column in zip(FEATURE_NAMES, weather, strict=True) if not np.isnan(column[:1]).any()]
        self.header: Sequence[str] = header or [*(["region"] if named else []), *given]
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
