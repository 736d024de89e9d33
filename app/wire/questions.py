"""What is asked: regions as columns of weather, whatever format they came in."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from app.model.moments import Array
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
    ) -> None:
        """``weather``: one contiguous array, shape (n,), per feature; NaN for all regions where it was not given.

        ``header``: a table's columns, as sent.
        """
        self.shape = shape
        self.weather = weather
        self.has_regions = regions is not None
        self.regions: Regions = regions if regions is not None else (None,) * len(weather[0])
        named = regions is not None and any(regions)
        given = [name for name, column in zip(FEATURE_NAMES, weather, strict=True) if not np.isnan(column[:1]).any()]
        self.header: Sequence[str] = header or [*(["region"] if named else []), *given]

    def __len__(self) -> int:
        return len(self.weather[0])
