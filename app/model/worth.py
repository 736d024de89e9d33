"""How much of a crop's yields the weather explains, in plain words: what a reader is told before any figure."""

from dataclasses import dataclass
from typing import Literal

from app.model.rounding import rounded

By = Literal["region", "season", "row", "nothing"]
"""What is held out at a time: a fifth of the regions, a season, a fifth of the rows, nothing (the error in sample)."""
USELESS = 0.2
"""Where the weather explains less than this share, the average yield predicts about as well."""
NOTHING, ALL = 0.005, 1.0 - 1e-9
"""Shares that are called nothing, below, and all, above."""
NEARLY_ALL = 0.99
"""From here on a share has a decimal, and is never rounded to 100 %."""
LOST = "no longer predicted"
"""What is said of crops that a version predicts no more: nobody should have to look for it."""
SEPARATES = {
    "region": "regions it was not trained on",
    "season": "seasons it was not trained on",
    "row": "rows it was not trained on",
    "nothing": "the rows it was trained on",
    None: "the rows held out",  # in cards from before it was told
}


@dataclass(frozen=True, slots=True)
class Worth:
    """What a crop's line is worth on rows that were held out ``by``.

    ``r_squared``: 1 - squared error / squared deviation of the yields, None where all of them are the same; ``error``:
    the root mean squared one, and ``mean``: the average yield, tons.
    """

    by: By | None
    r_squared: float | None
    error: float
    mean: float

    @property
    def is_useless(self) -> bool:
        """Whether the average yield would predict about as well."""
        return self.r_squared is not None and self.r_squared < USELESS

    def words(self) -> str:
        """Say it without the crop's name."""
        if self.r_squared is None:
            return "all its yields are the same: there is nothing for weather to explain"
        said = f"weather explains {_share(self.r_squared)} of what separates {SEPARATES[self.by]}"
        if not self.is_useless:
            said += f" (typical error {rounded(self.error)} tons, average yield {rounded(self.mean)})"
        if self.by == "nothing":
            said += ": judged on its own rows only, since none could be held out"
        return f"{said}; the average would do as well" if self.is_useless else said

    def sentence(self, crop: str) -> str:
        """Say it of a crop."""
        return f"{crop}: {self.words()}"


def _share(r_squared: float) -> str:
    """Return a share as people say it; below 0 a line is worse than the average."""
    if r_squared < NOTHING:
        return "nothing"
    if r_squared > ALL:
        return "all"
    return f"{min(100 * r_squared, 99.9):.1f} %" if r_squared >= NEARLY_ALL else f"{100 * r_squared:.0f} %"
