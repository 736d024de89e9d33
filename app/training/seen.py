"""What is seen of rows before anything is learned of them: what the live model would have said, and what is wrong."""

from collections.abc import Mapping

from app.data.tables import Table
from app.model.linear import LinearModel
from app.model.scored import Scored
from app.model.sums import Sums
from app.training import review
from app.training.arrivals import arrived
from app.training.asked import Asked, RecordOf
from app.training.past import PastCheck
from app.training.report import SuspiciousYield
from app.training.units import UnitCheck


class Seen:
    """Looks at rows as they are read, part by part.

    ``record``: what their yields were predicted as. ``suspicious``: yields far from that, as many as a report lists.
    """

    def __init__(self, model: LinearModel | None, *, alone: bool) -> None:
        """``model``: the live one. ``alone``: the rows stand for all that was learned before."""
        # Such rows may be of another climate: they are compared with what is possible at all.
        self._units = UnitCheck(model.widest_spread if model is not None and not alone else None)
        self._past = PastCheck()
        self.record = RecordOf()
        self._sums: dict[str, Sums] = {}
        self.suspicious: list[SuspiciousYield] = []
        self._model = model
        self._alone = alone

    def look(self, part: Table, first_row: int) -> None:
        """Look at some of the rows that have come; ``first_row``: how many came before them."""
        self._units.add(part.weather)
        if self._model is None:
            return
        asked = Asked.of(part, self._model)
        if not self._alone:  # among rows that stand for all before are those that the model knows
            self.record.add(part, asked)
            self._add_up(part, self._model)
            self._past.add(part, asked, first_row)
        if len(self.suspicious) < review.MOST_LISTED:
            found = [*self.suspicious, *review.suspicious(part, asked, first_row)]
            self.suspicious = found[: review.MOST_LISTED]

    def elsewhere(self, rows: int, mistaken: Mapping[str, int]) -> None:
        """Take in what was counted where the rows are, of rows that stand for all before."""
        self._units.counted(rows, mistaken)

    def _add_up(self, part: Table, model: LinearModel) -> None:
        for of in arrived(part, model):
            parts = [self._sums[of.crop]] if of.crop in self._sums else []
            self._sums[of.crop] = Sums.merge([*parts, Sums.of(of.seasons, of.pairs)])

    def as_predicted(self) -> dict[str, Scored]:
        """Return what the live version had said of the yields, beside what they are, by crop."""
        return {crop: Scored.of(sums) for crop, sums in self._sums.items()}

    def stored(self, part: Table) -> None:
        """Look at some rows that were stored before, without a training."""
        self._units.add(part.weather)

    def sentences(self) -> list[str]:
        """Return what speaks against the rows, a sentence for each cause."""
        return [*self._units.sentences(), *self._past.sentences()]
