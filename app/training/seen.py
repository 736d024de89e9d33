"""What is seen of rows before anything is learned of them: what the live model would have said, and what is wrong."""

from app.data.tables import Table
from app.model.linear import LinearModel
from app.training import review
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
            self._past.add(part, asked, first_row)
        if len(self.suspicious) < review.MOST_LISTED:
            found = [*self.suspicious, *review.suspicious(part, asked, first_row)]
            self.suspicious = found[: review.MOST_LISTED]

    def stored(self, part: Table) -> None:
        """Look at some rows that were stored before, without a training."""
        self._units.add(part.weather)

    def sentences(self) -> list[str]:
        """Return what speaks against the rows, a sentence for each cause."""
        return [*self._units.sentences(), *self._past.sentences()]
