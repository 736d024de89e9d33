"""One crop's line with what its regions have of their own, and how far a season to come may be off it, as served.

A yield is y = b + w·x + u_region + v_season + e (`app.model.components`). Of a region that training knows, u is
predicted; a season to come is one that nobody knows. Every formula works on one region (its number, plain floats) and
on many (arrays) alike, operation by operation in the same order, so that both give the same bits.
"""

import functools
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.model.components import Components
from app.model.moments import Array
from app.model.student import t_quantile

Place = int | NDArray[np.intp]
"""A region's number, or those of many, shape (n,); the last one stands for all regions that training has not seen."""


@dataclass(frozen=True, eq=False)
class Effects:
    """The line of R regions, and in the last place that of a region never seen.

    ``weights`` in tons per unit, shape (p,), ``intercept`` in tons: of the line, fitted by generalised least squares.
    ``rows``: how many rows each region was learned from, shape (R + 1,), 0 in the last place. ``offset``: what it adds,
    tons, shape (R + 1,). ``center``, shape (R + 1, p), ``base``, shape (R + 1,), and ``whitener`` T, shape (p, p): the
    variance of the estimate at weather x is noise · h(x), h = base + |T(x - center)|². ``noise``, ``by_region`` and
    ``by_season``: variances, tons². ``degrees``: of freedom, of intervals of known and of unseen regions.
    """

    weights: Array
    intercept: float
    rows: Array
    offset: Array
    center: Array
    base: Array
    whitener: Array
    noise: float
    by_region: float
    by_season: float
    degrees: tuple[float, float]

    @property
    def unseen(self) -> int:
        """The place of a region that training has not seen."""
        return len(self.rows) - 1

    @functools.cached_property
    def beyond(self) -> tuple[float, float]:
        """The variance of a yield about its expectation, in units of the noise: of known and of unseen regions.

        The expectation is that for the region, as far as it is known, in a season of which nothing is known.
        """
        season = 1.0 + self.by_season / self.noise
        return season, season + self.by_region / self.noise

    def _by_place(self, pair: tuple[float, float]) -> Array:
        known, unseen = pair
        return np.where(self.rows > 0, known, unseen)

    @functools.cached_property
    def beyond_by_place(self) -> Array:
        """The same of each place, shape (R + 1,)."""
        return self._by_place(self.beyond)

    def scale(self, level: float) -> Array:
        """Return t(level, degrees) · √noise of each place, tons, shape (R + 1,)."""
        return self._by_place(self.scales(level))

    def tons(self, weather: Sequence[Any], place: Place) -> Any:
        """Return intercept + Σ weight · value + the region's offset, tons, not clipped."""
        line = self.intercept + _product(self.weights.tolist(), weather)
        return line + self.offset[place]

    def leverage(self, weather: Sequence[Any], place: Place) -> Any:
        """Return h(x), the variance of the estimate in units of the noise."""
        center = self.center[place]
        away = [value - center[..., number] for number, value in enumerate(weather)]
        squares = [along * along for along in (_product(row, away) for row in self.whitener.tolist())]
        return self.base[place] + functools.reduce(operator.add, squares)

    def width(self, weather: Sequence[Any], place: Place) -> Any:
        """Return the standard error of prediction over the noise's deviation, √(beyond + h)."""
        return np.sqrt(self.beyond_by_place[place] + self.leverage(weather, place))

    def scales(self, level: float) -> tuple[float, float]:
        """Return t(level, degrees) · √noise, tons, of known and of unseen regions."""
        known, unseen = self.degrees
        return t_quantile(level, known) * self.noise**0.5, t_quantile(level, unseen) * self.noise**0.5

    def standard_errors(self, mean_variance: float) -> tuple[float, ...]:
        """Return those of the intercept and of each weight, in their units.

        ``mean_variance``: of the line at its center, in units of the noise.
        """
        center = self.whitener @ self.center[self.unseen]
        variances = [mean_variance + center @ center, *np.sum(self.whitener**2, axis=0)]
        return tuple((self.noise * variance) ** 0.5 for variance in variances)

    def placed(self, places: NDArray[np.intp], regions: int) -> "Effects":
        """Return the same for more regions: region number i of these is ``places[i]`` of those, the last the unseen."""
        rows, offset, base = np.zeros(regions + 1), np.zeros(regions + 1), np.full(regions + 1, self.base[-1])
        center = np.tile(self.center[-1], (regions + 1, 1))
        for mine, theirs in ((rows, self.rows), (offset, self.offset), (center, self.center), (base, self.base)):
            mine[places] = theirs[:-1]
        return replace(self, rows=rows, offset=offset, center=center, base=base)

    def to_arrays(self, prefix: str) -> dict[str, Array]:
        """Return named float64 arrays, for a file; the regions' names are not among them."""
        numbers = [self.intercept, self.noise, self.by_region, self.by_season, *self.degrees]
        arrays = {name: getattr(self, name) for name in _ARRAYS} | {"numbers": np.array(numbers)}
        return {prefix + name: np.ascontiguousarray(array, dtype=np.float64) for name, array in arrays.items()}

    @classmethod
    def from_arrays(cls, prefix: str, arrays: Mapping[str, Array], regions: int) -> "Effects":
        """Read back what `to_arrays` returned.

        Raises:
            KeyError: an array is missing.
            ValueError: the arrays do not belong together.
        """
        weights, rows, offset, center, base, whitener = (arrays[prefix + name] for name in _ARRAYS)
        numbers = arrays[prefix + "numbers"]
        features, places = weights.size, regions + 1
        shapes = [array.shape for array in (weights, rows, offset, center, base, whitener, numbers)]
        if shapes != [(features,), (places,), (places,), (places, features), (places,), (features, features), (6,)]:
            raise ValueError("the arrays of the effects do not belong together")
        intercept, noise, by_region, by_season, known, unseen = numbers.tolist()
        line = (weights, intercept)
        return cls(*line, rows, offset, center, base, whitener, noise, by_region, by_season, (known, unseen))


_ARRAYS = ("weights", "rows", "offset", "center", "base", "whitener")


def degrees(components: Components) -> tuple[float, float]:
    """Return the degrees of freedom of a yield's variance in a known and in an unseen region (Satterthwaite 1946)."""
    parts = [(components.noise, float(components.degrees))]
    if components.season.variance:
        parts.append((components.season.variance, components.season.groups - 1.0))
    known = _satterthwaite(parts)
    if components.region.variance:
        parts.append((components.region.variance, components.region.groups - 1.0))
    return known, _satterthwaite(parts)


def _satterthwaite(parts: list[tuple[float, float]]) -> float:
    total = sum(variance for variance, _ in parts)
    return max(1.0, total**2 / sum(variance**2 / of for variance, of in parts))


def _product(row: Sequence[float], values: Sequence[Any]) -> Any:
    return functools.reduce(operator.add, [weight * value for weight, value in zip(row, values, strict=True)])
