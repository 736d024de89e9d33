"""The model card: what a version says about itself, in words and numbers.

Also the answer of ``GET /models/{version}``.
"""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Decision = Literal["accepted", "rejected"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FeatureCard(_Part):
    """A feature as training saw it; ``minimum``, ``maximum`` and ``mean`` in ``unit``, over the rows of crops with it.

    None where no crop uses it, since it is not in the rows.
    """

    name: str
    unit: str
    minimum: float | None
    maximum: float | None
    mean: float | None


class StandardErrors(_Part):
    """Standard errors of the coefficients, in the coefficients' units."""

    intercept: float
    weights: dict[str, float]


class OutOfFold(_Part):
    """Errors of the common line on rows that were held out, tons.

    ``by``: what was held out at a time: "region", a fifth of the regions; "season", one season; "row", a fifth of the
    rows; "nothing": these are errors in sample, which are too small. None in cards from before it was told.
    ``mean_absolute_error`` is None where the rows were not at hand, ``r_squared`` where all yields are the same.
    """

    rmse: float
    mean_absolute_error: float | None
    r_squared: float | None
    by: Literal["region", "season", "row", "nothing"] | None = None


class Effect(_Part):
    """What regions, or seasons, have of their own, beyond the weather.

    ``deviation``: the standard deviation of what they add to a yield, tons, and its ``share`` of the variance that the
    weather leaves unexplained. ``groups``: how many regions, or seasons, it was learned from.
    """

    groups: int
    deviation: float
    share: float


class EffectsCard(_Part):
    """How the yields of a region resemble each other, and those of a season: None where a test does not see that.

    ``noise``: the standard deviation of what is left of each row, tons. ``rows``: those that name their region.
    ``weights`` and ``intercept``: of the line that regions and seasons lie about, fitted together with them, in tons
    per unit of each feature and in tons. ``degrees_of_freedom``: of the intervals of regions that are known, and
    ``degrees_of_freedom_unseen`` of the others. None in cards from before regions were predicted.
    """

    rows: int
    region: Effect | None
    season: Effect | None
    noise: float
    intercept: float | None = None
    weights: dict[str, float] | None = None
    standard_errors: StandardErrors | None = None
    degrees_of_freedom: float | None = None
    degrees_of_freedom_unseen: float | None = None


class CropCard(_Part):
    """One crop's line.

    ``weights`` in tons per unit of each feature, ``intercept``, ``mean_yield`` and ``residual_sd`` in tons: the common
    line, of all rows alike, which is what ``effects=none`` predicts.
    ``effects``: None where no region and no season shows any, or the rows are not known by region and season.
    ``absent_features``: those that some of its rows have no value of, which are left out: their weight is 0. The field
    is there only where there are any.
    """

    intercept: float
    weights: dict[str, float]
    rows: int
    rank: int
    degrees_of_freedom: int
    residual_sd: float | None
    mean_yield: float
    r_squared: float | None
    standard_errors: StandardErrors | None
    condition_number: float | None
    constant_features: list[str]
    collinear_features: list[str]
    largest_leverage: float
    out_of_fold: OutOfFold
    effects: EffectsCard | None = None
    absent_features: list[str] = Field(default=[], exclude_if=lambda names: not names)


class HeldCard(_Part):
    """How well intervals of one level held.

    ``inside``: the record's rows that lay inside intervals as wide as the rows of training alone would have them.
    ``widening``: how many times as wide this version makes them, at least 1.
    """

    inside: int
    widening: float


class SeasonRecord(_Part):
    """How a season came out: ``mean`` of (reported - predicted) / its standard error, over ``rows`` yields."""

    season: str | None
    rows: int
    mean: float


class LeanCard(_Part):
    """The last ``seasons`` came out ``standard_errors`` above what was predicted, on average; below where negative."""

    seasons: int
    standard_errors: float


class RecordCard(_Part):
    """What a crop's yields were predicted as before they were known, by the versions that were live when they came.

    ``levels``: by the level of intervals, "0.8" and "0.95"; none where there are no ``rows``. ``said``: the same in
    sentences.
    """

    rows: int
    levels: dict[str, HeldCard]
    seasons: list[SeasonRecord]
    lean: LeanCard | None
    said: list[str]


class BandedCard(_Part):
    """A figure in tons, and its band of 95%: None where there are too few yields for one."""

    tons: float
    low: float | None
    high: float | None


class CoverageCard(_Part):
    """How many yields lay ``inside`` of the intervals ``of`` so many, and the share that was ``promised``.

    ``low`` and ``high``: the band of 95% of the share that is inside, None where there are too few for one.
    """

    inside: int
    of: int
    promised: float
    low: float | None
    high: float | None


class PredictedCard(_Part):
    """What the live version had said of a crop's yields that came, as in `app.model.scored.Scored`, tons.

    ``bias``: the mean of reported less predicted. ``verdict``: the same in words.
    """

    n: int
    seasons: int
    bias: BandedCard
    mae: float
    rmse: BandedCard
    coverage: CoverageCard | None
    width: float | None
    interval_score: float | None
    skill: float | None
    verdict: str


class FitCard(_Part):
    """How fitting went; losses are mean squared errors over all elements, tons²."""

    epochs: int
    converged: bool
    loss: float
    least_squares_loss: float
    relative_gap: float


class RmsePair(_Part):
    """Out-of-fold RMSE of the candidate and RMSE of the current model on the same rows, tons.

    None where that cannot be said.
    """

    candidate_rmse: float | None
    current_rmse: float | None


class CropScores(_Part):
    """A crop's errors on the rows that the current model has never seen, and on those it was trained on."""

    new: RmsePair
    old: RmsePair


class RowCounts(_Part):
    """Rows that came with this training, and rows it was trained on in all."""

    received: int
    total: int


class EpochLoss(_Part):
    """A point of the loss curve."""

    epoch: int
    loss: float


class StoredBatches(_Part):
    """The batches that were stored before a training and that it learned, by their ``sequence`` in the database.

    ``count``: how many. ``ranges``: from the first to the last sequence, both included; all batches in a range were
    learned, what lies between two was withdrawn then. ``marks``: some batches up to the last of them by sequence and
    id, the nearer to it, the denser: how much of a database is what was learned from is seen by them.
    """

    count: int
    ranges: list[tuple[int, int]]
    marks: list[tuple[int, str]]


class Card(_Part):
    """What a version was trained on, how, and what came of it."""

    created: datetime
    recipe: Literal["descent", "tutorial"]
    parent: str | None
    note: str
    source: str
    seed: int | None
    features: list[FeatureCard]
    crops: dict[str, CropCard]
    rows: RowCounts
    fit: FitCard
    loss_curve: list[EpochLoss]
    decision: Decision
    reasons: list[str]
    scores: dict[str, CropScores]
    record: dict[str, RecordCard] = {}
    as_predicted: dict[str, PredictedCard] = Field(default={}, exclude_if=lambda crops: not crops)
    """The yields that came, by crop, beside what the version that was live had said: it informs, and decides nothing.

    The field is there only where there are any.
    """
    left_out: list[str]
    batches: list[str]
    """The ids of batches that it has learned: the one that came with it. Earlier programs named all, and no ``stored``
    ones."""
    stored: StoredBatches | None = Field(default=None, exclude_if=lambda stored: stored is None)
    data_digest: str

    @property
    def batch_count(self) -> int:
        """How many batches it has learned."""
        return len(self.batches) + (self.stored.count if self.stored is not None else 0)
