"""Bodies with observations: one table from JSON and CSV, what query and body say together, and what is stored."""

import json
import pickle
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from app.data.naming import MAX_CROPS
from app.data.observations import Observations
from app.data.provenance import Once, Provenance
from app.data.tables import Table
from app.errors import InvalidInput, KeyReused, MalformedInput, OrchardError, TooLarge
from app.faults import MAX_ERRORS
from app.settings import Settings
from app.training.order import Order
from app.wire.media_types import CSV, JSON
from app.wire.reported import Sent, Stored, read_order, store, store_at, table_of
from app.wire.schemas import ReportedSeason

PROVENANCE = Provenance("POST /retrain", "anna", "header's")
ORDER = Order(PROVENANCE)
TAKEN_APART = "cafe\u0301"


def _row(**changes: Any) -> dict[str, Any]:
    return {"temperature": 73, "rainfall": 67, "humidity": 43, "yields": {"mango": 56}} | changes


def _body(*rows: dict[str, Any], **options: Any) -> bytes:
    return json.dumps({"observations": rows} | options).encode()


def _sent(media_type: str = JSON, **query: Any) -> Sent:
    return Sent(media_type, 200, query)


def _reported(*rows: dict[str, Any]) -> list[ReportedSeason]:
    return [ReportedSeason.model_validate(row) for row in rows]


IN_JSON = _body(
    _row(region="A", season="2026", yields={"orange": 70}), _row(humidity=0.5), _row(yields={"kiwi": 0, "mango": 1})
)
IN_CSV = b"""region,season,temperature,rainfall,humidity,orange,mango,kiwi
A,2026,73,67,43,70,,
,,73,67,0.5,,56,
,,73,67,43,,1,0
"""


@pytest.mark.parametrize(("content", "media_type"), [(IN_JSON, JSON), (IN_CSV, CSV)])
def test_one_table_from_either(content: bytes, media_type: str) -> None:
    """Crops stand in the order in which they are first named; what a row does not report is NaN."""
    packed, order = read_order(content, ORDER, _sent(media_type))
    table: Table = pickle.loads(packed)  # noqa: S301 - made by the line above
    assert (table.regions, table.seasons) == (("A", None, None), ("2026", None, None))
    assert table.crops == ("orange", "mango", "kiwi")
    assert table.weather.tolist() == [[73.0, 67.0, 43.0], [73.0, 67.0, 0.5], [73.0, 67.0, 43.0]]
    np.testing.assert_array_equal(table.yields, [[70, np.nan, np.nan], [np.nan, 56, np.nan], [np.nan, 1, 0]])
    assert table.weather.dtype == table.yields.dtype == np.float64
    assert order == ORDER


def test_the_same_rows_have_the_same_digest() -> None:
    """By which a table is known again, whichever way it comes."""
    tables = [pickle.loads(read_order(body, ORDER, _sent(kind))[0]) for body, kind in ((IN_JSON, JSON), (IN_CSV, CSV))]  # noqa: S301
    assert tables[0].digest == tables[1].digest


@pytest.mark.parametrize("content", [b"", b"{}", b'{"observations": null}'])
def test_a_retrain_without_rows(content: bytes) -> None:
    """It has no table, and its order is as it was."""
    assert read_order(content, ORDER, _sent()) == (b"", ORDER)


@pytest.mark.parametrize(
    ("body", "query", "note", "options"),
    [
        ({}, {}, "header's", {}),
        ({"note": "mine"}, {}, "mine", {}),
        ({"note": ""}, {}, "", {}),
        ({}, {"note": "mine"}, "mine", {}),
        ({"note": "mine"}, {"note": "mine"}, "mine", {}),
        ({"dry_run": True}, {"activate": "never"}, "header's", {"dry_run": True, "activate": "never"}),
        ({"activate": "always"}, {"activate": "always", "note": "q"}, "q", {"activate": "always"}),
        ({"dry_run": False}, {"dry_run": False}, "header's", {"dry_run": False}),
    ],
)
def test_what_query_and_body_say_together(
    body: dict[str, Any], query: dict[str, Any], note: str, options: dict[str, Any]
) -> None:
    """Each may say a part, both may say the same; a note of either replaces the one beside the body."""
    expected = replace(ORDER, provenance=replace(PROVENANCE, note=note), **options)
    assert read_order(json.dumps(body).encode(), ORDER, _sent(**query)) == (b"", expected)


def test_a_table_of_csv_has_its_options_in_the_query() -> None:
    """A note and all else."""
    _, order = read_order(IN_CSV, ORDER, _sent(CSV, note="mine", dry_run=True))
    assert order == replace(ORDER, provenance=replace(PROVENANCE, note="mine"), dry_run=True)


@pytest.mark.parametrize(
    ("body", "query", "messages"),
    [
        ({"note": "a"}, {"note": "b"}, {"note": 'the query says "b", the body "a"'}),
        ({"note": ""}, {"note": "b"}, {"note": 'the query says "b", the body ""'}),
        ({"dry_run": False}, {"dry_run": True}, {"dry_run": "the query says true, the body false"}),
        ({"note": "a" * 99}, {"note": "b"}, {"note": f'the query says "b", the body "{"a" * 39}…'}),
        (
            {"note": "é", "activate": "never", "dry_run": True},
            {"activate": "always", "dry_run": True, "note": "e"},
            {"activate": 'the query says "always", the body "never"', "note": 'the query says "e", the body "é"'},
        ),
    ],
)
def test_contradictions(body: dict[str, Any], query: dict[str, Any], messages: dict[str, str]) -> None:
    """Whatever the body says and the query says otherwise, be it the default, is refused by name."""
    with pytest.raises(InvalidInput) as refused:
        read_order(json.dumps(body).encode(), ORDER, _sent(**query))
    assert [(fault.loc, fault.message, fault.code) for fault in refused.value.errors] == [
        (("query", name), f"{told}: give one, or the same in both", "contradiction") for name, told in messages.items()
    ]
    assert refused.value.detail.startswith(f"query.{next(iter(messages))}: the query says ")


@pytest.mark.parametrize(
    ("content", "media_type", "error", "message"),
    [
        (b"{", JSON, MalformedInput, "the body is not JSON"),
        (_body(), JSON, InvalidInput, "observations: has 0 entries, at least 1 are needed"),
        (_body(_row(), _row(rainfall=-1)), JSON, InvalidInput, "observations.1.rainfall: -1 is below 0 mm"),
        (_body(*[_row()] * 201), JSON, TooLarge, "201 rows in observations: the limit is 200"),
        (b'{"epochs": 7}', JSON, InvalidInput, "epochs: is unknown here"),
        (b"", CSV, MalformedInput, "the table is empty"),
        (b"temperature,rainfall,humidity\n1,1,1\n", CSV, InvalidInput, "no crop column"),
        (b"temperature,rainfall,humidity,mango\n1,1,1,\n", CSV, InvalidInput, "every yield is empty"),
        (b"temperature,rainfall,humidity,mango\n" + b"1,1,1,1\n" * 201, CSV, TooLarge, "more than 200 rows"),
    ],
)
def test_bodies_that_are_refused(content: bytes, media_type: str, error: type[OrchardError], message: str) -> None:
    """As they are read, before anything is stored or learned."""
    with pytest.raises(error, match=message) as refused:
        read_order(content, ORDER, _sent(media_type))
    assert type(refused.value) is error


def test_names_that_are_not_composed() -> None:
    """What no schema can say is said of each row, regions first."""
    rows = [_row(season=TAKEN_APART), _row(), _row(region=TAKEN_APART), _row(region="caf\u00e9"), _row(region="")]
    with pytest.raises(
        InvalidInput, match=r"^observations\.2\.region: 'cafe\\u0301' is not in .* \(and 1 more\)$"
    ) as refused:
        table_of(_reported(*rows))
    assert [(fault.loc, fault.code) for fault in refused.value.errors] == [
        (("observations", 2, "region"), "invalid"),
        (("observations", 0, "season"), "invalid"),
    ]


def test_many_such_names() -> None:
    """A hundred are listed, and all are counted."""
    with pytest.raises(InvalidInput, match=r"\(and 299 more\)$") as refused:
        table_of(_reported(*[_row(region=TAKEN_APART, season=TAKEN_APART)] * 150))
    assert [fault.loc[1] for fault in refused.value.errors] == list(range(MAX_ERRORS))


@pytest.mark.parametrize(("rows", "is_refused"), [(2, False), (3, True)])
def test_no_more_crops_than_a_model_has(rows: int, is_refused: bool) -> None:
    """Each row may name as many; all rows together may not name more."""
    half = MAX_CROPS // 2
    reported = _reported(*[_row(yields={f"crop {row} {crop}": 1 for crop in range(half)}) for row in range(rows)])
    if not is_refused:
        assert len(table_of(reported).crops) == MAX_CROPS
        return
    with pytest.raises(InvalidInput, match=r"^150 crops: at most 100$"):
        table_of(reported)


@pytest.fixture
def observations(settings: Settings) -> Iterator[Observations]:
    """Return a table that does not exist yet."""
    settings.folder.mkdir()
    table = Observations(settings.database)
    yield table
    table.close()


def _notes(observations: Observations) -> list[tuple[str, int]]:
    with observations.reading() as transaction:
        return [(batch.note, batch.rows) for batch in transaction.batches(10, None)]


@pytest.mark.parametrize(
    ("content", "sent", "note"),
    [
        (_body(_row(), _row()), _sent(), "header's"),
        (_body(_row(), _row(), note="mine"), _sent(), "mine"),
        (_body(_row(), _row()), _sent(note="mine"), "mine"),
        (IN_CSV.replace(b",56,", b",,"), _sent(CSV), "header's"),
        (IN_CSV.replace(b",56,", b",,"), _sent(CSV, note="mine"), "mine"),
    ],
)
def test_a_batch_is_stored(observations: Observations, content: bytes, sent: Sent, note: str) -> None:
    """Its rows that report something, under the note of body, query or what came beside them."""
    answer, stored = store(content, sent, PROVENANCE, None, observations)
    assert stored == Stored(note, new=True)
    with observations.reading() as transaction:
        (batch,) = transaction.batches(10, None)
    assert json.loads(answer) == {"batch": batch.id, "rows": 2}
    assert (batch.note, batch.who, batch.source, batch.rows) == (note, "anna", "POST /retrain", 2)


def test_a_call_that_is_repeated(observations: Observations, settings: Settings) -> None:
    """Under its key it is answered as before, by any process, and stores nothing more; another call may not use it."""
    once = Once("key", "fingerprint")
    answer, _ = store(_body(_row()), _sent(), PROVENANCE, once, observations)
    again = store_at(_body(_row()), _sent(), PROVENANCE, once, settings.database)
    assert again == (answer, Stored("header's", new=False))
    with pytest.raises(KeyReused):
        store(_body(_row()), _sent(), PROVENANCE, replace(once, fingerprint="other"), observations)
    assert _notes(observations) == [("header's", 1)]


@pytest.mark.parametrize("content", [b"", b"{}", _body(), _body(_row(region=TAKEN_APART)), _body(_row(), note="\x1b")])
def test_what_is_refused_is_not_stored(observations: Observations, settings: Settings, content: bytes) -> None:
    """Neither here nor in a process of its own."""
    with pytest.raises(InvalidInput):
        store(content, _sent(), PROVENANCE, None, observations)
    with pytest.raises(InvalidInput):
        store_at(content, _sent(), PROVENANCE, None, settings.database)
    assert _notes(observations) == []
