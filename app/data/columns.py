"""What the columns of a table are, by their header: weather and its units, region, season, and the rest.

Names are compared whatever their case: spreadsheets write `Temperature`. A unit may stand behind a name in brackets:
`Temperature (°C)`, `rainfall [in]`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from app.data.naming import OUTCOME_COLUMNS, TEXT_COLUMNS
from app.errors import FieldError
from app.faults import Faults
from app.model.units import STORED, UNITS, Units, unit_called
from app.model.weather import FEATURE_NAMES, REGION_LENGTH, why_needed

KNOWN = (*TEXT_COLUMNS, *OUTCOME_COLUMNS, *FEATURE_NAMES)
LISTED = 12
"""Columns that a message lists; the rest is counted."""
_OPENING = re.compile(r"[(\[]")
_WORD = re.compile(r"[^\W_]+")
NOT_CROPS = frozenset(
    _WORD.findall(
        "year yr date day month week time timestamp season harvested planted "
        "id fips geoid code index row county state country region province "
        "district name lat latitude lon lng long longitude elevation altitude area "
        "acre acres hectare hectares ha price temp temperature tmin tmax tavg "
        "tmean t2m rain rainfall precip precipitation prcp ppt prectotcorr humidity rh "
        "rh2m wind windspeed sun sunshine radiation solar gdd evapotranspiration snow frost "
        "dewpoint pressure soil moisture note notes comment comments remark remarks source"
    )
)
"""Words of names that are not crops': a number beside a harvest is most often one of these."""


@dataclass(frozen=True, slots=True)
class Header:
    """``sent``: the names as they came; ``names``: what each is, of KNOWN, or itself; ``units``: said in brackets."""

    sent: tuple[str, ...]
    names: tuple[str, ...]
    units: Units = STORED

    @classmethod
    def of(cls, sent: Sequence[str]) -> "Header":
        """Say what the columns are.

        Raises:
            InvalidInput: a name stands there twice, also in another case, or a unit is unknown.
        """
        faults, names, units = Faults(), [], {}
        for name in sent:
            known, unit = _read(name)
            names.append(known)
            if unit is not None:
                units[known] = unit_called(known, unit)
                if units[known] is None:
                    faults.add(FieldError((name[:REGION_LENGTH],), _unknown_unit(known, unit), "unit"))
        for name, message in _doubled(sent, names):
            faults.add(FieldError((name[:REGION_LENGTH],), message, "doubled"))
        faults.raise_if_any()
        return cls(tuple(sent), tuple(names), Units(units.get("temperature"), units.get("rainfall")))  # type: ignore[arg-type]

    @property
    def others(self) -> list[str]:
        """Return the columns that are not known: in a table of harvests, those of crops."""
        return [name for name in self.names if name not in KNOWN]

    def listed(self) -> str:
        """Return the names as sent, for a message."""
        more = f" and {len(self.sent) - LISTED} more" if len(self.sent) > LISTED else ""
        return ", ".join(name[:REGION_LENGTH] for name in self.sent[:LISTED]) + more

    def missing(self, names: Mapping[str, Sequence[str]]) -> list[FieldError]:
        """Return a fault for each of these names that no column has; with each are the crops that need it."""
        faults = []
        for name, crops in names.items():
            if name not in self.names:
                near = self.meant_for(name)
                instead = f"; is it {near!r}? Then call it {name!r}" if near else ""
                message = f"the column {name!r} is missing{why_needed(crops)}; the table has {self.listed()}{instead}"
                faults.append(FieldError((name,), message, "missing"))
        return faults

    def meant_for(self, name: str) -> str | None:
        """Return the column that may be meant for a known one that is not there."""
        plain = {other.casefold(): other for other in self.others if len(other) <= REGION_LENGTH}
        begins = [other for other in plain if len(other) > 2 and name.startswith(_first_word(other))]  # noqa: PLR2004
        near = begins or get_close_matches(name, plain, 1, 0.75)
        return plain[near[0]] if near else None


def known_in(cells: Iterable[str]) -> int:
    """Count the names of a header that are known."""
    return sum(_read(cell.strip())[0] in KNOWN for cell in cells)


def is_no_crop(name: str) -> bool:
    """Say whether a column's name is that of a time, a place or the weather."""
    return any(word in NOT_CROPS for word in _WORD.findall(name.casefold()))


def _first_word(name: str) -> str:
    found = _WORD.match(name)
    return found[0] if found and len(found[0]) > 2 else name  # noqa: PLR2004 - `t` begins many words


def _read(sent: str) -> tuple[str, str | None]:
    """Return what a column is, and the unit in brackets behind a name of weather."""
    if (plain := sent.casefold()) in KNOWN:
        return plain, None
    if len(sent) <= REGION_LENGTH and sent.endswith((")", "]")):
        name = _OPENING.split(sent, maxsplit=1)[0]
        if (plain := name.strip().casefold()) in UNITS:
            return plain, sent[len(name) + 1 : -1].strip()
    return sent, None


def _unknown_unit(feature: str, unit: str) -> str:
    known = " or ".join(known.symbol for known in UNITS[feature].values())
    return f"the column {feature}: the unit {unit[:REGION_LENGTH]!r} is not read: use {known}"


def _doubled(sent: Sequence[str], names: Sequence[str]) -> Iterable[tuple[str, str]]:
    seen: dict[str, str] = {}
    for name, known in zip(sent, names, strict=True):
        plain = known.casefold()
        if plain in seen:
            other = seen[plain]
            same = f"the column {name!r} appears twice"
            yield name, same if other == name else f"the columns {other!r} and {name!r} differ in their case only"
        else:
            seen[plain] = name
