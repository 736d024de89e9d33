"""CSV by Arrow: the same tables and the same errors as from the parser that names the cell."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.data import quick_csv, tables
from app.errors import OrchardError

LINES = st.sampled_from(
    [
        "A,75,80,55,1.5",
        " B ,7.5e1,80,55,",
        "'=A,75,80.25,55,2",
        ",75,80,55,3",
        '"C, D",75,80,55,4',
        "É,-0,0,0,0.1",
        "",
        ",,,,",
        "E,175,80,55,1",
        "F,75,80,,1",
        "G,x,80,55,1",
        "H,75,80,55,inf",
        "I,75,80,55",
    ]
)


@pytest.fixture(autouse=True)
def _from_the_first_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quick_csv, "FROM_BYTES", 0)


def _outcome(parse: object, content: bytes, max_rows: int) -> object:
    try:
        found = parse(content, max_rows)  # type: ignore[operator]
    except OrchardError as error:
        return type(error), error.detail, error.errors
    table = found.table if isinstance(found, tables.Asked) else found
    header = found.columns if isinstance(found, tables.Asked) else None
    columns = table.weather.tolist(), str(table.yields.tolist())
    return list(table.regions), *columns, table.crops, table.unreported, header and list(header)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(LINES, max_size=6), st.sampled_from(["\n", "\r\n"]), st.sampled_from(["", "\ufeff"]))
def test_observations_are_the_same(lines: list[str], end: str, mark: str) -> None:
    """Whatever is in a table of observations, both parsers make the same of it."""
    content = (mark + end.join(["region,temperature,rainfall,humidity,mango", *lines]) + end).encode()
    assert _outcome(quick_csv.parse_observations, content, 4) == _outcome(tables.parse_observations, content, 4)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(LINES, max_size=6), st.sampled_from(["\n", "\r\n"]), st.sampled_from(["", "\ufeff"]))
def test_regions_are_the_same(lines: list[str], end: str, mark: str) -> None:
    """Whatever is in a table of regions, both parsers make the same of it."""
    cut = [line.rpartition(",")[0] for line in lines]
    content = (mark + end.join(["region,temperature,rainfall,humidity", *cut]) + end).encode()
    assert _outcome(quick_csv.parse_regions, content, 4) == _outcome(tables.parse_regions, content, 4)
