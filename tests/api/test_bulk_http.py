"""Large bodies over HTTP: Arrow, grids of regions in every format, and the process that they are worked on in."""

import csv
import io
import json
import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import OrchardError
from app.wire import arrow_stream, json_body
from app.wire.media_types import JSON
from app.wire.questions import PLAIN
from tests import hostile
from tests.running import HARVEST, Running, await_taken, connections, copy_store, cpu_s, peak_mb, serving, until

ARROW = "application/vnd.apache.arrow.stream"
FEATURE_NAMES = ("temperature", "rainfall", "humidity")
MANY = 3_000
"""Regions whose body is larger than what is answered on the event loop, in every format."""


def _stream(columns: Any, **options: Any) -> bytes:
    table = columns if isinstance(columns, pa.Table) else pa.table(columns)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=1_000)
    return bytes(sink.getvalue())


def _read(answer: httpx.Response) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = pa.ipc.open_stream(answer.content).read_all().to_pydict()
    return columns


def _post(running: Running, body: bytes, sent: str, wanted: str = "*/*") -> httpx.Response:
    return running.client.post("/predict", content=body, headers={"Content-Type": sent, "Accept": wanted})


def _grid(count: int = MANY) -> dict[str, list[Any]]:
    draw = np.random.default_rng(5)
    weather = [draw.uniform(low, high, count).round(2).tolist() for low, high in ((50, 110), (20, 150), (30, 80))]
    names = [None if row % 5 == 0 else f'region "{row}", north' for row in range(count)]
    return {"region": names, **dict(zip(FEATURE_NAMES, weather, strict=True))}


def test_a_grid_gets_the_same_numbers_in_every_format(reading: Running) -> None:
    """3 000 regions as columns, rows, CSV and Arrow, and one by one; each in its own shape, warnings and all."""
    grid = _grid()
    columns = reading.client.post("/predict", json=grid).json()
    rows = [dict(zip(grid, row, strict=True)) for row in zip(*grid.values(), strict=True)]
    predictions = reading.client.post("/predict", json={"regions": rows}).json()["predictions"]
    assert columns["region"] == grid["region"] == [one["region"] for one in predictions]
    for name in ("extrapolated", "warnings"):
        assert columns[name] == [one[name] for one in predictions]
    assert any(columns["warnings"])
    assert not all(columns["warnings"])
    arrow = _read(_post(reading, _stream(grid), ARROW))
    assert list(arrow) == [*grid, *(f"{crop}_{part}" for crop in columns["yields"] for part in ("tons", "low", "high")),
                           "extrapolated", "model_version"]  # fmt: skip
    text = "\n".join([",".join(grid), *(",".join([json.dumps(r or "").replace('\\"', '""'), *map(repr, w)])
                                        for r, *w in zip(*grid.values(), strict=True))])  # fmt: skip
    answer = _post(reading, text.encode(), "text/csv")
    table = list(csv.DictReader(io.StringIO(answer.text)))
    assert [line["region"] or None for line in table] == grid["region"]
    assert arrow["region"] == grid["region"]
    for crop, parts in columns["yields"].items():
        for part, values in parts.items():
            assert values == [one["yields"][crop][part] for one in predictions]
            assert values == arrow[f"{crop}_{part}"]
            assert values == [float(line[f"{crop}_{part}"]) for line in table]
    assert set(arrow["model_version"]) == {"1"}
    for row in (0, 7, 2_999):
        single = reading.client.post("/predict", json=rows[row]).json()
        assert single["yields"] == predictions[row]["yields"]
        assert single["warnings"] == predictions[row]["warnings"]


@pytest.mark.parametrize("count", [2, MANY])
def test_arrow_and_json_can_be_mixed(reading: Running, count: int) -> None:
    """A question in one format is answered in the other that Accept names, small and large."""
    grid = _grid(count)
    as_json = _post(reading, _stream(grid), ARROW, JSON)
    assert as_json.headers["content-type"] == JSON
    as_arrow = reading.client.post("/predict", json=grid, headers={"Accept": ARROW})
    assert as_arrow.headers["content-type"] == ARROW
    assert as_arrow.headers["x-model-version"] == "1"
    assert as_json.json()["yields"]["mango"]["tons"] == _read(as_arrow)["mango_tons"]
    as_csv = _post(reading, _stream(grid), ARROW, "text/csv")
    assert len(as_csv.text.splitlines()) == count + 1


@pytest.mark.parametrize("kind", [pa.float32(), pa.float64(), pa.int32(), pa.uint8(), pa.int64()], ids=str)
def test_any_type_of_number_is_taken(reading: Running, kind: pa.DataType) -> None:
    """Integers and single precision are as good as doubles."""
    columns = {name: pa.array([75, 80], kind) for name in FEATURE_NAMES}
    found = _read(_post(reading, _stream(columns), ARROW))
    assert (
        found["mango_tons"]
        == _read(_post(reading, _stream({n: [75.0, 80.0] for n in FEATURE_NAMES}), ARROW))["mango_tons"]
    )


GOOD = {"temperature": [75.0] * 4, "rainfall": [80.0] * 4, "humidity": [55.0] * 4}
FAULTS: list[tuple[Any, int, list[Any], str]] = [
    (
        GOOD | {"humidity": [55.0, 101.0, 55.0, -1.0]},
        422,
        [1, "humidity"],
        "row 2, column humidity: 101 is above 100 %",
    ),
    (GOOD | {"rainfall": [1.0, None, 2.0, 3.0]}, 422, [1, "rainfall"], "row 2, column rainfall: the value is null"),
    (GOOD | {"rainfall": [1.0, 2.0, 3.0, float("nan")]}, 400, [3, "rainfall"], "nan is not finite"),
    (GOOD | {"rainfall": [1.0, 2.0, float("inf"), 1.0]}, 400, [2, "rainfall"], "inf is not finite"),
    (GOOD | {"temperature": ["75"] * 4}, 422, ["temperature"], "temperature is string, not a number"),
    (GOOD | {"temperature": [True] * 4}, 422, ["temperature"], "temperature is bool, not a number"),
    (GOOD | {"region": [1, 2, 3, 4]}, 422, ["region"], "region is int64, not text"),
    (GOOD | {"region": ["x" * 201, None, "", "b"]}, 422, [0, "region"], "201 characters, at most 200"),
    (GOOD | {"wind": [1.0] * 4}, 422, ["wind"], "unknown column 'wind'"),
    ({name: GOOD[name] for name in ("temperature", "rainfall")}, 422, ["humidity"], "'humidity' is missing"),
    ({name: [] for name in GOOD}, 422, [], "columns and no rows"),
    (pa.Table.from_arrays([pa.array([1.0])] * 4, [*GOOD, "humidity"]), 422, ["humidity"], "appears twice"),
]


@pytest.mark.parametrize(("columns", "status", "loc", "message"), FAULTS)
def test_faults_in_arrow_are_named_by_row_and_column(
    reading: Running, columns: Any, status: int, loc: list[Any], message: str
) -> None:
    """A wrong type, a null, NaN or a value out of bounds is a problem that says where."""
    answer = _post(reading, _stream(columns), ARROW)
    problem = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert message in problem["detail"]
    if loc:
        assert problem["errors"][0]["loc"] == loc


@pytest.mark.parametrize("body", [b"", b"{}", b"ARROW1\0\0", _stream(GOOD)[:200], b"\xff" * 5_000])
def test_what_is_no_arrow_stream_is_malformed(reading: Running, body: bytes) -> None:
    """Cut, empty or other bytes are 400."""
    answer = _post(reading, body, ARROW)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed")


@pytest.mark.parametrize("kind", [pa.uint8(), pa.uint32(), pa.int8(), pa.int64()])
def test_names_may_be_coded(reading: Running, kind: pa.DataType) -> None:
    """Categories by numbers of any type, as other programs write them, a null among them."""
    names = pa.DictionaryArray.from_arrays(pa.array([1, None, 0], kind), ["a", "b"])
    answer = _post(reading, _stream({"region": names, **{name: [75.0] * 3 for name in FEATURE_NAMES}}), ARROW)
    assert answer.status_code == 200
    assert pa.ipc.open_stream(answer.content).read_all().column("region").to_pylist() == ["b", None, "a"]


@pytest.mark.parametrize("name", [b"temperature", b"region", b"name-of-a-region"])
def test_names_that_are_not_utf_8(reading: Running, name: bytes) -> None:
    """In a column's name or in a dictionary: 400."""
    names = pa.array(["name-of-a-region", None]).dictionary_encode()
    body = _stream({"region": names, **{column: [75.0] * 2 for column in FEATURE_NAMES}})
    answer = _post(reading, body.replace(name, b"\xff" + name[1:]), ARROW)
    assert answer.status_code == 400
    assert answer.json()["code"] == "malformed"


def _refused() -> dict[str, tuple[bytes, str]]:
    """Return streams that stand for more than they are, with what is said about them."""
    compressed = _stream({name: [50.0] * 100_000 for name in FEATURE_NAMES}, compression="zstd")
    coded = _stream(GOOD | {"region": pa.array(["a" * 99] * 4).dictionary_encode()}, compression="lz4")
    header = _stream(pa.table(GOOD).replace_schema_metadata({"x": "x" * 70_000}))
    return {
        "compressed": (compressed, "compressed"),
        "compressed, with a dictionary": (coded, "compressed"),
        "compressed in secret": (hostile.hidden_compression(10_000_000), "metadata version V5"),
        "of an old format": (_stream(GOOD, metadata_version=pa.ipc.MetadataVersion.V4), "metadata version V5"),
        "a dictionary that grows": (hostile.deltas(4_000_000), "write each dictionary whole"),
        "metadata of a batch": (hostile.annotated(), "batches with metadata of their own"),
        "a long header": (header, "the limit is 65536"),
        "too many batches": (hostile.stream(hostile.weather(10_001), 1), "more than 10000 batches"),
    }


def test_compressed_arrow_is_refused(reading: Running) -> None:
    """Kilobytes could be gigabytes: 422 that says how to write it, before anything is read."""
    for name, (body, message) in _refused().items():
        before = peak_mb(reading.process.pid)
        answer = _post(reading, body, ARROW)
        assert answer.status_code == 422, name
        assert message in answer.json()["detail"], name
        assert peak_mb(reading.process.pid) < before + 100, name


_CHUNK = st.tuples(st.lists(st.text(max_size=4), min_size=1, max_size=4), st.lists(st.integers(0, 4), max_size=4))


@given(st.lists(_CHUNK, min_size=1, max_size=5), st.sampled_from([pa.int8(), pa.uint16(), pa.int64()]))
@settings(max_examples=200)
def test_dictionaries_may_change(chunks: list[tuple[list[str], list[int]]], kind: pa.DataType) -> None:
    """With each batch, with names twice and names that no row has: every row has its name."""
    arrays = [
        pa.DictionaryArray.from_arrays(
            pa.array([None if code >= len(names) else code for code in codes], kind), pa.array(names)
        )
        for names, codes in chunks
    ]
    column = pa.chunked_array(arrays)
    if not len(column):
        return
    table = pa.table({"region": column} | {name: [75.0] * len(column) for name in FEATURE_NAMES})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    question = arrow_stream.read(bytes(sink.getvalue()), 100)
    assert list(question.regions) == column.to_pylist()


def test_a_dictionary_is_looked_at_once(reading: Running) -> None:
    """Eight megabytes of names and 9 000 batches of one row: once for each would be minutes."""
    codes = pa.array(np.arange(9_000), pa.int32())
    names = pa.DictionaryArray.from_arrays(codes, pa.array([f"{number:09}" for number in range(800_000)]))
    body = hostile.stream(hostile.weather(9_000, names), 1)
    before = cpu_s(reading)
    answer = _post(reading, body, ARROW)
    assert answer.status_code == 200
    assert pa.ipc.open_stream(answer.content).read_all().column("region").to_pylist()[8_999] == "000008999"
    assert cpu_s(reading) - before < 10


@pytest.mark.parametrize("code", [1, 100, -1])
def test_codes_without_a_name(reading: Running, code: int) -> None:
    """A number that stands for no name is 400."""
    names = pa.DictionaryArray.from_arrays(pa.array([0, code], pa.int8()), ["a"], safe=False)
    answer = _post(reading, _stream(hostile.weather(2, names)), ARROW)
    assert answer.status_code == 400
    assert "code is not among its 1 names" in answer.json()["detail"]


@pytest.mark.long
def test_a_few_bytes_do_not_stand_for_gigabytes(reading: Running) -> None:
    """A dictionary of one enormous name for 100 000 rows, and thousands of columns, are refused at once."""
    count = 100_000
    names = pa.DictionaryArray.from_arrays(np.zeros(count, dtype=np.int8), ["x" * 1_000_000])
    before = cpu_s(reading)
    answer = _post(reading, _stream({"region": names, **{name: [50.0] * count for name in FEATURE_NAMES}}), ARROW)
    assert answer.status_code == 422
    assert f"1000000 characters, at most 200 (and {count - 1} more)" in answer.json()["detail"]
    assert len(answer.json()["errors"]) == 100
    wide = pa.table({f"c{number}": [1.0] for number in range(20_000)})
    assert _post(reading, _stream(wide), ARROW).status_code == 422
    assert _post(reading, ",".join(map(str, range(1_000_000))).encode(), "text/csv").status_code == 422
    assert cpu_s(reading) - before < 30


def test_faults_in_large_json_are_named(reading: Running) -> None:
    """What the quick validation does not take is looked at value by value."""
    grid = _grid()
    grid["humidity"][2_000] = 100.5
    answer = reading.client.post("/predict", json=grid)
    assert answer.status_code == 422
    assert answer.json()["errors"] == [
        {"loc": ["humidity", 2_000], "message": "100.5 is above 100 %", "code": "out_of_bounds"}
    ]
    grid["humidity"][2_000] = "55"
    rows = [dict(zip(grid, row, strict=True)) for row in zip(*grid.values(), strict=True)]
    answer = reading.client.post("/predict", json={"regions": rows})
    assert answer.json()["errors"][0]["loc"] == ["regions", 2_000, "humidity"]


_NUMBER: st.SearchStrategy[Any] = st.one_of(
    st.floats(-200, 200), st.integers(-200, 200), st.sampled_from([True, None, "1", "NaN", [], 1e400, float("nan")])
)
_NAME = st.one_of(st.none(), st.text(max_size=3), st.integers(0, 3))
_ROW = st.fixed_dictionaries(
    {}, optional={"temperature": _NUMBER, "rainfall": _NUMBER, "humidity": _NUMBER, "region": _NAME, "wind": _NUMBER}
)
_COLUMNS = st.fixed_dictionaries(
    {},
    optional={
        "temperature": st.lists(_NUMBER, max_size=3),
        "rainfall": st.lists(_NUMBER, max_size=3),
        "humidity": st.lists(_NUMBER, max_size=3),
        "region": st.one_of(st.none(), st.lists(_NAME, max_size=3)),
    },
)


@given(st.one_of(_COLUMNS, st.fixed_dictionaries({"regions": st.lists(_ROW, max_size=3)})))
@settings(max_examples=300)
def test_quick_validation_takes_what_the_schema_takes(body: Any) -> None:
    """The two ways of validation give the same question, or the same errors."""
    content = json.dumps(body).encode()

    def outcome(read: Any) -> Any:
        try:
            question = read(content)
        except OrchardError as error:
            return error.detail, error.errors
        return question.shape, list(question.regions), [column.tolist() for column in question.weather]

    quick = outcome(lambda content: json_body.read(content, 10))
    assert quick == outcome(lambda content: json_body._by_schema(json.loads(content), PLAIN))  # noqa: SLF001 - the reference that it is compared with


def _helper(running: Running) -> int:
    found = subprocess.run(
        ["pgrep", "--parent", str(running.process.pid), "--full", "app.api.helper"],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(found.stdout)


def test_the_process_aside_may_die(trained: Path, tmp_path: Path) -> None:
    """A question that its process dies of gets 503 and the next one is answered; small ones never wait for it."""
    with serving(copy_store(trained, tmp_path / "store")) as running:
        grid = _grid(60_000)
        assert running.client.post("/predict", json=grid).status_code == 200
        helper = _helper(running)
        os.kill(helper, signal.SIGSTOP)
        answers: list[httpx.Response] = []
        asking = threading.Thread(
            target=lambda: answers.append(httpx.post(running.client.base_url.join("/predict"), json=grid, timeout=60))
        )
        before = connections(running)
        asking.start()
        await_taken(running, before)
        assert running.client.post("/predict", json=dict.fromkeys(FEATURE_NAMES, 75)).status_code == 200
        os.kill(helper, signal.SIGKILL)
        asking.join()
        assert (answers[0].status_code, answers[0].json()["code"]) == (503, "answering_failed")
        assert running.client.post("/predict", json=grid).status_code == 200
        assert _helper(running) != helper


@pytest.mark.long
def test_a_client_that_goes_away_leaves_nothing_open(trained: Path, tmp_path: Path) -> None:
    """Files in memory are closed whether an answer is read to its end or not."""
    with serving(copy_store(trained, tmp_path / "store")) as running:
        body = json.dumps(_grid(30_000)).encode()

        def ask(*, whole: bool) -> None:
            with running.client.stream("POST", "/predict", content=body, headers={"Content-Type": JSON}) as answer:
                if whole:
                    answer.read()

        ask(whole=True)
        before = len(list(Path(f"/proc/{running.process.pid}/fd").iterdir()))
        for number in range(20):
            ask(whole=number % 2 == 0)
        until(lambda: len(list(Path(f"/proc/{running.process.pid}/fd").iterdir())) <= before + 1)


def _large_harvest(count: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = HARVEST["observations"]
    return [rows[number % 3] | {"region": f"R{number}"} for number in range(count)]


@pytest.mark.long
def test_large_harvests_are_read_aside(trained: Path, tmp_path: Path) -> None:
    """A thousand observations are stored or learned, as JSON or CSV, and their faults named, like three."""
    with serving(copy_store(trained, tmp_path / "store")) as running:
        rows = _large_harvest(1_000)
        post = running.client.post
        stored = post("/observations", json={"observations": rows}, headers=running.write | {"Idempotency-Key": "k"})
        assert (stored.status_code, stored.json()["rows"]) == (201, 1_000)
        again = post("/observations", json={"observations": rows}, headers=running.write | {"Idempotency-Key": "k"})
        assert again.json() == stored.json()
        learned = post("/retrain", json={"observations": rows, "note": "n", "dry_run": True}, headers=running.write)
        assert learned.json()["rows"] == {"received": 1_000, "total": 2_015}
        assert learned.json()["dry_run"] is True
        lines = ["region,temperature,rainfall,humidity,mango,orange"]
        lines += [",".join(map(str, [*list(row.values())[:4], *row["yields"].values()])) for row in rows]
        as_csv = "\n".join(lines)
        table = running.write | {"Content-Type": "text/csv"}
        learned = post("/retrain?activate=never", content=as_csv, headers=table)
        assert learned.json()["rows"] == {"received": 1_000, "total": 2_015}
        rows[700]["humidity"] = 1_000
        refused = post("/retrain", json={"observations": rows}, headers=running.write)
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["loc"] == ["observations", 700, "humidity"]
        refused = post("/observations", content=as_csv + "\nR,73,67,430,5,6", headers=table)
        assert "row 1001 (line 1002), column humidity: 430 is above 100 %" in refused.json()["detail"]
        assert running.version() == "1"
