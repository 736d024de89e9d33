"""What came of a training. Also the answer of ``POST /retrain``."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from app.store.card import CropScores, Decision, FitCard, PredictedCard, RowCounts

Activate = Literal["if_better", "always", "never"]
"""Whether the version that a training makes becomes live."""


NOTHING_NEW = "nothing has changed since version {}: no batch was added or withdrawn"
"""The reason of a training that has made no version, by the live one's number."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SuspiciousYield(_Part):
    """An observation that lies more than 6 standard errors of prediction from what the live model says, in tons.

    ``row`` counts from 0, as the location of an error does.
    """

    row: int
    region: str | None
    crop: str
    tons: float
    predicted: float
    standard_errors: float


class Change(_Part):
    """A number before and after."""

    old: float | None
    new: float | None


class CoefficientChanges(_Part):
    """A crop's coefficients in the live version and in the candidate; None where a version has no such crop."""

    intercept: Change
    weights: dict[str, Change]


class RegionChanges(_Part):
    """A region's average weather in training, and its predictions in tons by the live version and by the candidate.

    None for a feature that its rows have no value of.
    """

    region: str | None
    temperature: float | None
    rainfall: float | None
    humidity: float | None
    yields: dict[str, Change]


class Changes(_Part):
    """What activating the candidate would change."""

    coefficients: dict[str, CoefficientChanges]
    regions: list[RegionChanges]


class Report(_Part):
    """A training's outcome.

    ``version`` and ``batch``, where the rows are kept, are None when nothing was published or stored; where nothing has
    changed since the live version, ``version`` is that one, and not ``activated``. ``as_predicted``: the yields that
    came beside what the live version had said, by crop, where it could. ``changes`` is None except after a dry run.
    """

    version: str | None
    batch: str | None
    decision: Decision
    activated: bool
    reasons: list[str]
    dry_run: bool
    rows: RowCounts
    fit: FitCard
    scores: dict[str, CropScores]
    as_predicted: dict[str, PredictedCard] = Field(default={}, exclude_if=lambda crops: not crops)
    suspicious: list[SuspiciousYield]
    left_out: list[str]
    changes: Changes | None
