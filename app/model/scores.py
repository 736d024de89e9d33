"""How good a model is on rows it has not seen, and whether a candidate may take the current model's place.

Everything is computed from moments: cross-validation costs one pass over the rows, and none over those learned before.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.model.chi_square import chi_square_quantile
from app.model.fisher import f_quantile
from app.model.fit import CropFit, Fit, least_squares
from app.model.folds import FOLDS, FoldedMoments
from app.model.linear import CropModel, LinearModel
from app.model.moments import Array, Moments
from app.model.rounding import new_rows, rounded
from app.model.slips import as_known, lacked, slips
from app.model.worth import LOST, Worth

CONFIDENCE = 0.99
"""Honest noise on the new rows stays below its bound with this probability."""
NOT_WORSE = 1.0
"""On new rows, the candidate's error may be this many times the current model's."""
NOT_FORGOTTEN = 1.25
"""On old rows, the candidate's error may be this many times the error recorded for the current model."""


@dataclass(frozen=True, slots=True)
class Rmse:
    """A root mean squared error over ``rows`` rows, tons."""

    rows: int
    tons: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """A crop's errors on some rows: the candidate's out of fold, and the current model's; None if unknown."""

    candidate: Rmse | None
    current: Rmse | None


@dataclass(frozen=True, slots=True)
class CropVerdict:
    """What the gate says about a crop."""

    new: Comparison
    old: Comparison
    passed: tuple[str, ...]
    failed: tuple[str, ...]


@dataclass(frozen=True, eq=False, slots=True)
class Current:
    """The model to compare with, and its crops' out-of-fold RMSE as its card records it, tons."""

    model: LinearModel
    recorded: Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What speaks for and against the candidate, as sentences with numbers, and the scores behind them."""

    passed: tuple[str, ...]
    failed: tuple[str, ...]
    crops: dict[str, CropVerdict]

    @property
    def accepted(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.failed

    @property
    def reasons(self) -> list[str]:
        """All the sentences, those against it first."""
        return [*self.failed, *self.passed]


def fold_lines(training: FoldedMoments) -> list[CropFit]:
    """Return, per fold, the line fitted on the rows outside it.

    Where those outside are too few to fit, as when all rows are of one region, all rows are taken: an error in sample
    is better than none.
    """
    coefficients = training.folds[0].columns
    outsides = (training.without(fold) for fold in range(FOLDS))
    return [least_squares(outside if outside.count > coefficients else training.total) for outside in outsides]


def fold_fits(training: FoldedMoments) -> list[tuple[Array, float]]:
    """Return, per fold, the (weights, intercept) of its `fold_lines`."""
    return [(line.weights, line.intercept) for line in fold_lines(training)]


def out_of_fold(training: FoldedMoments, tested: FoldedMoments) -> Rmse | None:
    """Return the error on ``tested`` rows, each predicted by the fit on the ``training`` rows outside its fold."""
    rows = tested.total.count
    if not rows:
        return None
    parts = zip(tested.folds, fold_fits(training), strict=True)
    error = math.fsum(moments.squared_error(weights, intercept) for moments, (weights, intercept) in parts)
    return Rmse(rows, math.sqrt(error / rows))


def judge(
    fit: Fit,
    all_rows: Mapping[str, FoldedMoments],
    old: Mapping[str, FoldedMoments],
    new: Mapping[str, FoldedMoments],
    current: Current | None,
    *,
    may_drop: bool,
    noticed: Iterable[str] = (),
    sent: Mapping[str, int] | None = None,
    worth: Mapping[str, Worth] | None = None,
) -> Verdict:
    """Decide whether the candidate may go live.

    Args:
        fit: the candidate.
        all_rows: the moments it was fitted on, by crop.
        old: those of them that the current model was trained on.
        new: those that it has never seen.
        current: the live model, None if no model is live.
        may_drop: whether the rows stand for all that was learned before: a crop that the current model predicts may be
            missing, and the current model's own error says nothing against them.
        noticed: what speaks against the new rows themselves.
        sent: how many of the new rows came with this call, by crop; None if that is not known.
        worth: what each crop's line is worth on rows held out, to be said where it is nothing; decides nothing.
    """
    failed = [*noticed, *_fit_faults(fit)]
    if current is not None and not may_drop:
        totals = {crop: rows.total for crop, rows in new.items()}
        failed += slips(current.model, totals, _noise_bounds(new, current), sent)
    passed: list[str] = []
    if current is None and not failed:
        passed.append("there is no current model to compare with; the numbers can be fitted")
    known = {crop.crop: crop for crop in current.model.crops} if current is not None else {}
    recorded = current.recorded if current is not None else {}
    crops = {
        crop: _judge_known(
            known[crop],
            moments,
            old.get(crop),
            new.get(crop),
            recorded.get(crop),
            None if sent is None else sent.get(crop, 0),
        )
        if crop in known
        else _judge_unknown(crop, moments, worth.get(crop) if worth is not None else None)
        for crop, moments in all_rows.items()
    }
    lost = [crop for crop in known if crop not in all_rows]
    if lost:
        sentence = f"{_listed(lost)}: {LOST}, since too few of the rows to train on report it"
        (passed if may_drop else failed).append(sentence)
    for verdict in crops.values():
        passed += verdict.passed
        failed += verdict.failed
    if not failed and worth is not None:
        passed += [of.sentence(crop) for crop, of in worth.items() if of.is_useless]
    return Verdict(tuple(passed), tuple(failed), crops)


def _noise_bounds(new: Mapping[str, FoldedMoments], current: Current) -> dict[str, float]:
    """Return, by crop, what the current model's error on the new rows stays below if they are honest, tons."""
    return {
        crop.crop: _noise_bound(crop, recorded, rows.total.count)
        for crop in current.model.crops
        if (recorded := current.recorded.get(crop.crop)) is not None
        and (rows := new.get(crop.crop)) is not None
        and rows.total.count
    }


def _noise_bound(known: CropModel, recorded: float, rows: int) -> float:
    return max(recorded, known.resolution) * math.sqrt(chi_square_quantile(CONFIDENCE, rows) / rows)


def _honest_bound(known: CropModel, recorded: float, rows: int) -> float:
    """Return what the error of a candidate on new rows stays below if they are honest, tons.

    The recorded error is itself uncertain, so that the squares have an F distribution. Where seasons differ, the rows
    of the next one share what it has of its own, and tell as much as fewer that do not: of the mean of n squares, of
    which a share a has its deviation in common, the variance is a² + (1 - a²) / n.
    """
    shared = 0.0
    if known.effects is not None:
        parts = known.effects
        shared = (parts.by_season / (parts.noise + parts.by_region + parts.by_season)) ** 2
    alone = 1.0 / (shared + (1.0 - shared) / rows)
    degrees = known.effects.degrees[1] if known.effects is not None else known.degrees_of_freedom
    ratio = f_quantile(CONFIDENCE, max(1, round(alone)), max(1, round(degrees)))
    return max(recorded, known.resolution) * math.sqrt(ratio)


def _fit_faults(fit: Fit) -> Iterable[str]:
    if not fit.converged:
        yield (
            f"the fit did not converge: its loss {fit.loss:.6g} tons² is {fit.relative_gap:.3g} times the "
            f"least-squares loss {fit.least_squares_loss:.6g} above it, after {fit.epochs} epochs"
        )
    for crop, line in fit.crops.items():
        if not line.full_rank:
            varying = sum(~line.moments.constant[:-1])
            yield f"{crop}: its rows determine only {line.rank} of the {varying} weights of features that vary"


def _judge_unknown(crop: str, all_rows: FoldedMoments, worth: Worth | None) -> CropVerdict:
    score = out_of_fold(all_rows, all_rows)
    assert score is not None  # noqa: S101 - a crop that was fitted has rows
    in_sample = "in-sample" if worth is not None and worth.by == "nothing" else "out-of-fold"
    error = score.tons if worth is None else worth.error
    sentence = f"{crop} is new: its {in_sample} error is {rounded(error)} tons on {score.rows} rows"
    return CropVerdict(Comparison(score, None), Comparison(None, None), (sentence,), ())


def _judge_known(
    known: CropModel,
    all_rows: FoldedMoments,
    old: FoldedMoments | None,
    new: FoldedMoments | None,
    recorded: float | None,
    sent: int | None,
) -> CropVerdict:
    news, olds = _compare(all_rows, new, known), _compare(all_rows, old, known)
    missing = lacked(known, new.total) if new is not None else []
    on_new = (
        _check_unasked(known, news, recorded, missing, sent) if missing else _check_new(known, news, recorded, sent)
    )
    checks = [on_new, _check_old(known, olds, recorded)]
    said = [check for check in checks if check is not None]
    passed = tuple(sentence for good, sentence in said if good)
    return CropVerdict(news, olds, passed, tuple(sentence for good, sentence in said if not good))


def _compare(all_rows: FoldedMoments, rows: FoldedMoments | None, known: CropModel) -> Comparison:
    if rows is None or not rows.total.count:
        return Comparison(None, None)
    candidate, current = out_of_fold(all_rows, rows), None
    if not lacked(known, rows.total):  # without a feature that it needs it cannot be asked
        total = as_known(known, rows.total)
        error = total.squared_error(np.array(known.weights), known.intercept)
        current = Rmse(total.count, math.sqrt(error / total.count))
    return Comparison(candidate, current)


def _check_unasked(
    known: CropModel, scores: Comparison, recorded: float | None, missing: list[str], sent: int | None
) -> tuple[bool, str] | None:
    """No worse than honest noise can be, on new rows that the current model cannot be asked about.

    A line without the features that they lack may err by as much more as it may on old rows.
    """
    if scores.candidate is None:
        return None
    rows, error = scores.candidate.rows, scores.candidate.tons
    sentence = (
        f"{known.crop}: on {new_rows(rows, sent)} its out-of-fold error is {rounded(error)} tons; the "
        f"current model cannot be asked about them: it needs {_listed(missing)}"
    )
    if recorded is None:
        return True, sentence
    return _beside(sentence, error, NOT_FORGOTTEN * _honest_bound(known, recorded, rows))


def _check_new(
    known: CropModel, scores: Comparison, recorded: float | None, sent: int | None
) -> tuple[bool, str] | None:
    """Not worse than the current model on the rows that it has never seen, or no worse than honest noise can be."""
    if scores.candidate is None or scores.current is None:
        return None
    rows, error = scores.candidate.rows, scores.candidate.tons
    allowed = NOT_WORSE * scores.current.tons
    sentence = (
        f"{known.crop}: on {new_rows(rows, sent)} its out-of-fold error is {rounded(error)} tons, "
        f"the current model's {rounded(scores.current.tons)}"
    )
    if recorded is not None:
        allowed = max(allowed, _honest_bound(known, recorded, rows))
    return _beside(sentence, error, allowed)


def _beside(sentence: str, error: float, allowed: float) -> tuple[bool, str]:
    """Say whether an error is within what is allowed, and name that limit in one way, whichever it is."""
    if error <= allowed:
        return True, f"{sentence}; up to {rounded(allowed)} are allowed"
    return False, f"{sentence}: more than the {rounded(allowed)} that are allowed"


def _check_old(known: CropModel, scores: Comparison, recorded: float | None) -> tuple[bool, str] | None:
    """Nothing is forgotten: on the rows that the current model learned from, the error stays near the recorded one."""
    if scores.candidate is None or recorded is None:
        return None
    error, allowed = scores.candidate.tons, NOT_FORGOTTEN * max(recorded, known.resolution)
    rows = scores.candidate.rows
    sentence = (
        f"{known.crop}: on the {rows} old row{'s' * (rows != 1)} its out-of-fold error is {rounded(error)} tons, "
        f"{rounded(recorded)} was recorded for the current model"
    )
    return _beside(sentence, error, allowed)


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def r_squared(moments: Moments, squared_error: float) -> float | None:
    """Return 1 - squared error / squared deviation of the yields; None where all yields are the same."""
    deviation = float(np.sum(moments.factor[:, -1] ** 2))
    return 1.0 - squared_error / deviation if not moments.constant[-1] else None


def mean_absolute_error(training: FoldedMoments, features: Array, tons: Array, fold: NDArray[np.uint8]) -> float:
    """Return the mean absolute out-of-fold error, tons, of rows at hand.

    ``features``: shape (n, d); ``tons`` and ``fold``: shape (n,).
    """
    errors = np.empty(len(tons))
    for number, (weights, intercept) in enumerate(fold_fits(training)):
        inside = fold == number
        errors[inside] = tons[inside] - features[inside] @ weights - intercept
    return float(np.mean(np.abs(errors)))
