"""A weather service's answer as a region's season, in a form that can be sent: CSV or JSON."""

import csv
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from app.data.naming import day_of
from app.data.tables import safe_cell
from app.errors import FieldError, InvalidInput
from app.faults import Faults
from app.model.weather import FEATURE_NAMES, REGION_LENGTH
from app.wire import weather_body
from app.wire.questions import BodyOptions, Question

_IN_QUERY = re.compile(r"^query\.(\w+)")


def season(
    content: bytes, max_rows: int, season_start: str | None, season_end: str | None, region: str | None
) -> Question:
    """Return the regions of a service's answer.

    Raises:
        MalformedInput, InvalidInput, TooLarge: as `app.wire.weather_body.read`; InvalidInput also for a wrong option.
    """
    faults = Faults()
    days = {"season_start": season_start, "season_end": season_end}
    given: dict[str, Any] = {}
    for name, text in days.items():
        try:
            given[name] = None if text is None else day_of(text)
        except ValueError as error:
            faults.add(FieldError(("query", name), str(error), "invalid"))
    if region is not None and len(region) > REGION_LENGTH:
        faults.add(FieldError(("query", "region"), f"is longer than {REGION_LENGTH} characters", "too_long"))
    with _by_option():
        faults.raise_if_any(placed=True)
        return weather_body.read(content, max_rows, BodyOptions(**given, region=region))


@contextmanager
def _by_option() -> Iterator[None]:
    """Call what a query gives by the option that gives it here."""
    try:
        yield
    except InvalidInput as error:
        detail = _IN_QUERY.sub(lambda found: "--" + found[1].replace("_", "-"), error.detail)
        raise InvalidInput(detail, error.errors) from error


def notes(asked: Question) -> Iterator[str]:
    """Yield what has to be said of a region's days, by its name."""
    for name, told in zip(asked.regions, asked.notes, strict=True):
        yield from (f"{name}: {note}" for note in told)


def as_csv(asked: Question) -> str:
    """Return the regions as a table, as `orchard predict` and POST /predict take it."""
    text = io.StringIO(newline="")
    rows = zip(asked.regions, *(column.tolist() for column in asked.weather), strict=True)
    csv.writer(text).writerows([("region", *FEATURE_NAMES), *((safe_cell(name or ""), *row) for name, *row in rows)])
    return text.getvalue()


def as_json(asked: Question) -> dict[str, Any]:
    """Return the regions as POST /predict takes them, one alone or several."""
    rows = [
        {"region": name, **dict(zip(FEATURE_NAMES, row, strict=True))}
        for name, *row in zip(asked.regions, *(column.tolist() for column in asked.weather), strict=True)
    ]
    return rows[0] if asked.shape == "one" else {"regions": rows}
