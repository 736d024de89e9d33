"""Scored: the figures of forecasts beside what came of them, with bands, and in words."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from app.model import bands
from app.model.bands import LEAST_PAIRS, LEAST_SEASONS, Band
from app.model.coverage import Coverage
from app.model.sums import Sums
from app.model.weather import FEATURE_NAMES

ALARM = 0.01
"""Coverage is told to be below what was promised where chance alone leaves as few inside less often than this."""
DIGITS = 2
"""Significant digits of the largest of some tons that are told together."""
_LEVEL_DIGITS = 12
"""So that the mean of levels that are all the same is that level."""


@dataclass(frozen=True, slots=True)
class Tons:
    """A figure in tons and its band of 95%, None where there are too few pairs for one."""

    tons: float
    low: float | None
    high: float | None

    @classmethod
    def of(cls, tons: float, band: Band | None) -> Self:
        """Put them together."""
        return cls(tons, band.low if band else None, band.high if band else None)


@dataclass(frozen=True, slots=True)
class Held:
    """How many yields were ``inside``, ``of`` those that had an interval, and the share that was ``promised``.

    ``low`` and ``high``: the band of 95% of the share that is inside; None where there are too few pairs for one.
    """

    inside: int
    of: int
    promised: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Scored:
    """A group of n pairs of ``seasons`` that are named; tons, where a figure is None it is not known.

    ``bias``: the mean error, reported - predicted: below 0 where predictions were too high. ``mae``: None unless all
    pairs are known one by one. ``coverage``, and of the same pairs the mean ``width`` and ``interval_score``: None
    where none had an interval. ``skill``: 1 - the squared error over that of the mean yield in training of the version
    that spoke; 0 is no better than that. ``model_error`` and ``weather_error``: the parts of the bias, which are its
    sum; None unless known of all pairs. ``by_weather``: what each feature is of the latter. ``below_promise``: whether
    fewer are inside than chance explains, in three seasons or more.
    """

    n: int
    seasons: int
    bias: Tons | None
    mae: float | None
    rmse: Tons | None
    coverage: Held | None
    width: float | None
    interval_score: float | None
    skill: float | None
    model_error: float | None
    weather_error: float | None
    by_weather: dict[str, float] | None
    below_promise: bool

    @classmethod
    def of(cls, sums: Sums) -> Self:
        """Return the figures of what pairs add up to; of no pairs all that are means are None."""
        pairs = sums.total("pairs")
        seasons = len(sums.named().seasons)
        if not pairs:
            return cls(0, seasons, *(None,) * 10, False)
        coverage = Coverage.of_sums(sums)
        bounded, baseline = sums.total("bounded"), sums.total("baseline")
        is_split = sums.total("split") == pairs
        return cls(
            n=round(pairs),
            seasons=seasons,
            bias=Tons.of(sums.total("error") / pairs, bands.of_bias(sums)),
            mae=sums.total("absolute") / pairs if sums.total("seen") == pairs else None,
            rmse=Tons.of(math.sqrt(sums.total("squares") / pairs), bands.of_rmse(sums)),
            coverage=_held(sums, coverage) if coverage is not None else None,
            width=sums.total("width") / bounded if bounded else None,
            interval_score=sums.total("penalised") / bounded if bounded else None,
            skill=1.0 - sums.total("squares") / baseline if baseline else None,
            model_error=sums.total("model") / pairs if is_split else None,
            weather_error=sums.total("weather") / pairs if is_split else None,
            by_weather={name: sums.total(name) / pairs for name in FEATURE_NAMES} if is_split else None,
            below_promise=coverage is not None
            and min(bounded, coverage.of) >= LEAST_PAIRS
            and coverage.seasons >= LEAST_SEASONS
            and coverage.chance < ALARM,
        )

    def bias_sentence(self, subject: str = "the forecasts were") -> str | None:
        """Say how far off on average, such as "the live version was 3.1 t too high on 24 yields (1.9 to 4.3)".

        None without pairs. The first letter is the subject's.
        """
        if self.bias is None:
            return None
        middle, low, high = self.bias.tons, self.bias.low, self.bias.high
        yields = _counted(self.n, "yield")
        if low is None or high is None:
            return f"{subject} {_sides([middle])[0]} on {yields}"
        if low <= 0.0 <= high:
            bounds = " and ".join(_sides([low, high]))
            return f"{subject} right on average as far as {yields} tell: between {bounds}"
        away, near, far = _rounded([abs(middle), *sorted((abs(low), abs(high)))])
        return f"{subject} {away} t too {'high' if middle < 0.0 else 'low'} on {yields} ({near} to {far})"

    def verdict(self, them: str = "the forecasts") -> str:
        """Say what the figures come to, in sentences; the first letter is that of ``them``, who have been right or not.

        ``them`` is a plural.
        """
        said = self.bias_sentence(f"{them} were")
        if said is None:
            return f"no yield has been reported of what {them} were about"
        sentences = [said + self._parts()]
        if self.n < LEAST_PAIRS:
            sentences.append(f"of fewer than {LEAST_PAIRS} yields nothing is certain")
        else:
            sentences += [*self._held_sentence(), *self._few_seasons()]
        return "; ".join(sentences)

    def _parts(self) -> str:
        """Say whose error it was, where there was a forecast of the weather."""
        if self.model_error is None or self.weather_error is None or not self.weather_error:
            return ""
        model, weather = _sides([self.model_error, self.weather_error])
        return f": the model's part is {model}, the weather forecast's {weather}"

    def _held_sentence(self) -> list[str]:
        held = self.coverage
        if held is None or held.of < LEAST_PAIRS:
            return []
        counted = (
            f"{held.inside:,} of {held.of:,} yields lay in their intervals, which promise {_percent(held.promised)}"
        )
        if not self.below_promise:
            return [counted]
        return [
            f"{counted}: coverage is below promise by more than chance, even where yields of a season fail together"
        ]

    def _few_seasons(self) -> list[str]:
        if self.seasons >= LEAST_SEASONS:
            return []
        few = {0: "no season is told", 1: "one season"}.get(self.seasons, f"{self.seasons} seasons")
        return [f"{few}: years differ more than regions"]


def _held(sums: Sums, coverage: Coverage) -> Held:
    inside, of = sums.total("inside"), sums.total("bounded")
    band = coverage.band().stretched_to(inside / of) if of >= LEAST_PAIRS else None
    promised = round(sums.total("promised") / of, _LEVEL_DIGITS)
    return Held(round(inside), round(of), promised, *((band.low, band.high) if band else (None, None)))


def _sides(errors: list[float]) -> list[str]:
    """Say of each error, reported - predicted, how far on which side predictions were."""
    told = zip(errors, _rounded([abs(error) for error in errors]), strict=True)
    return [f"{away} t too {'high' if error < 0.0 else 'low'}" if error else "exactly right" for error, away in told]


def _rounded(tons: Sequence[float]) -> list[str]:
    """Return tons with as many decimals as the largest needs for two significant digits, all of them alike."""
    largest = max(tons)
    decimals = DIGITS - 1 - math.floor(math.log10(largest)) if largest > 0.0 else 0
    return [f"{round(number, decimals):,.{max(0, decimals)}f}" for number in tons]


def _percent(share: float) -> str:
    return f"{100.0 * share:.10g}%"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"
