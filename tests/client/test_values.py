"""What callers hand the client: numbers and arrays of other libraries, decimals, and what is none of these."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from app.client import AsyncOrchard, Orchard
from app.client.values import plain
from app.wire.schemas import OnePrediction

WEATHER: dict[str, Any] = {"temperature": 73, "rainfall": 67, "humidity": 43}
ROW: dict[str, Any] = {"region": "A", "season": "2026", **WEATHER, "yields": {"mango": 56}}
ONE = OnePrediction(region=None, yields={}, extrapolated=False, warnings=[], model_version="1").model_dump()
SEVERAL = {"model_version": "1", "predictions": []}
COLUMNS: dict[str, Any] = {"model_version": "1", "region": None, "yields": {}, "extrapolated": [], "warnings": []}
STORED = {"batch": "b", "rows": 1}


class Series:
    """A column as pandas has it: it is no sequence of Python's, and has `tolist`."""

    def __init__(self, *values: Any) -> None:
        self._values = values

    def tolist(self) -> list[Any]:
        """Return the values."""
        return list(self._values)

    def __iter__(self) -> Any:
        """Yield what NumPy would."""
        return iter(np.array(self._values))


def _sent(call: Callable[[Orchard], object], answer: Any) -> Any:
    """Return the body that a call sends."""
    bodies = []

    def handle(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.content))
        return httpx.Response(200, json=answer)

    with Orchard("http://orchard.test", transport=httpx.MockTransport(handle)) as orchard:
        call(orchard)
    (body,) = bodies
    return body


@pytest.mark.parametrize(
    "kind", [int, float, np.int64, np.int32, np.float64, np.float32, np.float16, np.array, Decimal, Fraction]
)
def test_a_number_is_a_number_whatever_its_type(kind: Callable[[int], Any]) -> None:
    """In each call that takes numbers, they arrive as JSON's numbers."""
    number = kind(73)
    weather = {"temperature": number, "rainfall": number, "humidity": number}
    expected = dict.fromkeys(weather, 73)
    row = {**ROW, **weather, "yields": {"mango": number}}
    assert _sent(lambda orchard: orchard.predict(**weather), ONE) == {"region": None, **expected}
    assert _sent(lambda orchard: orchard.predict_many([weather, {**weather, "region": np.str_("B")}]), SEVERAL) == {
        "regions": [expected, {**expected, "region": "B"}]
    }
    columns: dict[str, Any] = {name: [value, value] for name, value in weather.items()}
    assert _sent(lambda orchard: orchard.predict_columns(**columns), COLUMNS) == {name: [73, 73] for name in weather}
    stored = _sent(lambda orchard: orchard.store(row for _ in range(1)), STORED)["observations"]
    assert stored == [ROW | expected | {"yields": {"mango": 73}}]


@pytest.mark.parametrize(
    "column", [np.array([73, 91]), np.array([73, 91], np.float32), Series(73, 91), (73, 91), range(73, 92, 18)]
)
def test_a_column_is_a_column_whatever_its_type(column: Any) -> None:
    """Arrays, columns of a DataFrame, tuples, ranges and generators."""
    given = {"temperature": column, "rainfall": column, "humidity": (value for value in column)}
    body = _sent(lambda orchard: orchard.predict_columns(**given, region=Series("A", None)), COLUMNS)
    assert body == {"temperature": [73, 91], "rainfall": [73, 91], "humidity": [73, 91], "region": ["A", None]}


def test_flags_of_numpy_are_flags() -> None:
    """A dry run that is asked for by an array's element is one, in a body and in a query."""
    flag: Any = np.array([True])[0]
    seen = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append((request.url.query.decode(), request.content))
        return httpx.Response(422, json={})

    with Orchard("http://orchard.test", transport=httpx.MockTransport(handle)) as orchard:
        for given in ({"observations": [ROW]}, {"table": "a,b\n"}):
            with pytest.raises(Exception, match="422"):
                orchard.retrain(dry_run=flag, **given)
    assert json.loads(seen[0][1])["dry_run"] is True
    assert "dry_run=true" in seen[1][0]


WHEN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda o: o.predict(**{**WEATHER, "rainfall": WHEN}), "rainfall: a datetime is neither a number nor a text"),
        (lambda o: o.predict(**{**WEATHER, "rainfall": 1j}), "rainfall: a complex is neither"),
        (
            lambda o: o.predict(**{**WEATHER, "rainfall": np.array([1, 2])}),
            "rainfall: 2 values are given for one region",
        ),
        (lambda o: o.predict(**WEATHER, region=object()), "region: an object is neither"),
        (lambda o: o.predict_columns(temperature=73, rainfall=[1], humidity=[1]), "temperature: an int is no column"),
        (
            lambda o: o.predict_columns(temperature=np.array(73), rainfall=[], humidity=[]),
            "temperature: a ndarray is no",
        ),
        (lambda o: o.predict_columns(temperature=[1], rainfall=[WHEN], humidity=[1]), r"rainfall\[0\]: a datetime is"),
        (
            lambda o: o.predict_columns(temperature=[1], rainfall=[1], humidity=[1], region="A"),
            "region: a str is no col",
        ),
        (lambda o: o.predict_many({"temperature": [73]}), "regions: a dict is no list of rows"),
        (lambda o: o.predict_many(["temperature"]), r"regions\[0\]: a str is no row: .* to_dict\('records'\)"),
        (lambda o: o.predict_many([WEATHER, {**WEATHER, "humidity": WHEN}]), r"regions\[1\].humidity: a datetime"),
        (lambda o: o.store([{**ROW, "yields": {"mango": WHEN}}]), r"observations\[0\].yields.mango: a datetime"),
        (lambda o: o.retrain([{**ROW, "rainfall": WHEN}]), r"observations\[0\].rainfall: a datetime"),
        (lambda o: o.predict_csv("regions.csv"), r"a file is a pathlib.Path: Path\('regions.csv'\)"),
        (lambda o: o.predict_csv("data/regions"), r"a file is a pathlib.Path: Path\('data/regions'\)"),
        (lambda o: o.retrain(table="harvest.csv\n"), r"a file is a pathlib.Path: Path\('harvest.csv\\n'\)"),
        (lambda o: o.store(table=[ROW]), r"a list is no table: .* to_csv\(index=False\)"),
        (lambda o: o.predict_geojson({"type": "Feature", "x": object()}), "the body: an object is neither"),
    ],
)
def test_what_cannot_be_sent_is_told_by_its_name(call: Callable[[Any], Any], told: str) -> None:
    """Nothing is sent; the error names the argument, and its place in it. Both clients say the same."""

    def never(request: httpx.Request) -> httpx.Response:
        raise AssertionError(request)

    orchard = Orchard("http://orchard.test", transport=httpx.MockTransport(never))
    with orchard, pytest.raises(ValueError, match=told):
        call(orchard)
    if "retrain" not in call.__code__.co_names:  # which is a coroutine's, and so raises when it is awaited
        with pytest.raises(ValueError, match=told):
            call(AsyncOrchard("http://orchard.test"))


def test_one_line_of_text_may_be_a_table() -> None:
    """What has commas, or neither a slash nor an ending, goes to the service, which says what is wrong with it."""
    for text in ("region,temperature,1.5", "temperature", "a.csv\nb"):
        with Orchard("http://orchard.test", transport=httpx.MockTransport(lambda _: httpx.Response(200))) as orchard:
            assert orchard.predict_csv(text) == ""


def test_what_is_plain_stays_as_it_is() -> None:
    """Nothing is copied that needs no change: a large body takes no longer."""
    columns = [1.0] * 1_000
    for value in (columns, {"a": 1, "b": None}, "text", None, 1.5):
        assert plain("x", value) is value


def test_a_file_tells_its_name(tmp_path: Path) -> None:
    """Beside its rows, if it can be told on one line; what is no file tells none."""
    queries = []

    def handle(request: httpx.Request) -> httpx.Response:
        queries.append(dict(request.url.params))
        return httpx.Response(201, json=STORED)

    with Orchard("http://orchard.test", transport=httpx.MockTransport(handle)) as orchard:
        for name in ("Ernte Köln & Bonn.csv", "a\nb.csv", "x" * 201):
            (tmp_path / name).write_text("a,b\n") if name[-1] == "v" else None
        orchard.store(table=tmp_path / "Ernte Köln & Bonn.csv")
        orchard.store(table=tmp_path / "a\nb.csv")
        orchard.store(table="a,b\n")
        orchard.store([ROW])
    assert queries == [{"note": "", "source": "Ernte Köln & Bonn.csv"}, {"note": ""}, {"note": ""}, {}]
