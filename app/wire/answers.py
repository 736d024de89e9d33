"""What is answered: a question's predictions, as columns and as a table, whatever format they leave in."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.model.linear import LinearModel, Yields, clipped
from app.model.moments import Array
from app.model.warning_texts import warnings_for_many
from app.serving.drift import Usage
from app.wire.questions import Question

ENDS = ("tons", "low", "high")
"""What is said of a crop: the prediction, and both ends of its interval."""


class Answer:
    """A question's predictions."""

    def __init__(
        self,
        question: Question,
        version: str,
        model: LinearModel,
        level: float,
        *,
        explain: bool = False,
        warnings: bool = False,
    ) -> None:
        """``explain``: say what weather and region add. ``warnings``: tables have a column of them."""
        self.question = question
        self.version = version
        self.model = model
        self._yields: Yields = model.yields(question.weather, level, question.regions)
        self._explain = explain
        self._with_warnings = warnings

    def usage(self) -> Usage:
        """Return what is recorded of it."""
        return Usage(self.question.weather, len(self.question), int(np.count_nonzero(self._yields.extrapolated)))

    def warnings(self) -> list[list[str]]:
        """Return each region's sentences: first those about how it was asked."""
        told = warnings_for_many(self.model, self.question.weather, self._yields, self.question.units)
        notes = self.question.notes
        return [[*before, *behind] for before, behind in zip(notes, told, strict=True)] if any(notes) else told

    @property
    def extrapolated(self) -> NDArray[np.bool_]:
        """Which regions are outside the training range, shape (n,)."""
        return self._yields.extrapolated

    def tons(self) -> dict[str, dict[str, Array | None]]:
        """Return each crop's tons, low and high, shape (n,), clipped: tons cannot be negative."""
        return {crop: {end: self.column(crop, end) for end in ENDS} for crop in self._yields.tons}

    def column(self, crop: str, end: str) -> Array | None:
        """Return one crop's tons, low or high, shape (n,); None without an interval."""
        tons, margin = self._yields.tons[crop], self._yields.margins[crop]
        if end == "tons":
            return clipped(tons)
        if margin is None:
            return None
        return clipped(tons - margin if end == "low" else tons + margin)

    def explanations(self) -> dict[str, dict[str, Any]]:
        """Return each crop's baseline and contributions, tons; nothing where they are not asked for."""
        if not self._explain:
            return {crop.crop: {} for crop in self.model.crops}
        return {
            crop.crop: {
                "baseline": crop.baseline,
                "contributions": crop.contributions(self.question.weather, self._yields.places),
            }
            for crop in self.model.crops
        }

    def table(self) -> dict[str, Any]:
        """Return the question's columns, then each crop's, then extrapolated and model_version.

        A column of the question that has the name of one of these is replaced: an answer can be asked again.
        """
        found: dict[str, Any] = {
            f"{crop}_{name}": column for crop, columns in self.tons().items() for name, column in columns.items()
        }
        if self._with_warnings:
            found["warnings"] = ["; ".join(some) or None for some in self.warnings()]
        found |= {"extrapolated": self._yields.extrapolated, "model_version": self.version}
        return {name: column for name, column in self.question.columns.items() if name not in found} | found
