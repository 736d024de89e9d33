"""What came of a training. Also the answer of ``POST /retrain``."""

from pydantic import BaseModel, ConfigDict

from app.store.card import CropScores, Decision, FitCard, RowCounts


class SuspiciousYield(BaseModel):
    """An observation that lies more than 6 standard errors of prediction from what the live model says, in tons."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    row: int
    region: str | None
    crop: str
    tons: float
    predicted: float
    standard_errors: float


class Report(BaseModel):
    """A training's outcome; ``version`` is None when nothing was published."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    version: str | None
    decision: Decision
    activated: bool
    reasons: list[str]
    dry_run: bool
    rows: RowCounts
    fit: FitCard
    scores: dict[str, CropScores]
    suspicious: list[SuspiciousYield]
    left_out: list[str]
