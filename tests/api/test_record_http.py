"""The record over HTTP: the card, metrics and readiness say it, intervals have it in every form, exact=true has not."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.client import Orchard
from app.model.linear import LinearModel
from app.store.objects import Objects
from app.store.registry import Registry
from tests.panels import INSIDE
from tests.running import HARVEST, Running, copy_store, serving

CROPS = ("mango", "orange", "pear")
NAMES = ["A", "Z", None]
COLUMNS: dict[str, list[float]] = {name: [value] * len(NAMES) for name, value in INSIDE.items()}
ARROW = "application/vnd.apache.arrow.stream"
LEAN = "orange: the last 3 seasons came out 2.0 standard errors below prediction"
SINCE = "yields reported since; this one is "
RECORD = ("orchard_record_rows", "orchard_record_inside", "orchard_record_widening", "orchard_record_season")


@pytest.fixture(scope="module")
def served(recorded: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Return a server whose crops have a record: mango held, orange lay lower, pear scattered."""
    with serving(copy_store(recorded, tmp_path_factory.mktemp("served") / "store")) as running:
        yield running


@pytest.fixture(scope="module")
def model(recorded: Path) -> LinearModel:
    """Return the model that is served."""
    return Registry(Objects(recorded)).live()[1].model


def _asked(running: Running, body: object, query: str = "") -> Any:
    answer = running.client.post(f"/predict{query}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def _one(running: Running, region: str | None, query: str = "") -> Any:
    return _asked(running, INSIDE | ({} if region is None else {"region": region}), query)


def _ends(one: Any) -> dict[str, float]:
    return {f"{crop}_{end}": one["yields"][crop][end] for crop in CROPS for end in ("tons", "low", "high")}


def _families(running: Running) -> dict[str, dict[tuple[str, ...], float]]:
    """Return the samples of each family by their labels' values."""
    return {
        family.name: {tuple(sample.labels.values()): sample.value for sample in family.samples}
        for family in text_string_to_metric_families(running.client.get("/metrics").text)
    }


def test_the_card_says_it(served: Running, recorded: Path) -> None:
    """Of the live version and of each; the client reads it."""
    record = served.client.get("/models/live").json()["record"]
    assert record == served.client.get("/models/2").json()["record"]
    kept = Registry(Objects(recorded)).read("2").card.record
    assert {crop: card.model_dump() for crop, card in kept.items()} == record
    assert {crop: said["rows"] for crop, said in record.items()} == dict.fromkeys(CROPS, 27)
    assert record["orange"]["lean"] == {"seasons": 3, "standard_errors": pytest.approx(-2.0, abs=0.05)}
    assert [season["season"] for season in record["pear"]["seasons"]] == ["2005", "2006", "2007"]
    assert f"orange: {record['orange']['said'][1]}" == LEAN
    assert record["mango"]["levels"]["0.95"] == {"inside": 27, "widening": 1.0}
    first = served.client.get("/models/1").json()["record"]
    assert [said["rows"] for said in first.values()] == [0, 0, 0]
    with Orchard(str(served.client.base_url)) as client:
        assert {crop: card.model_dump() for crop, card in client.card().record.items()} == record
        assert client.card("1").record["pear"].levels == {}


def test_metrics_say_it(served: Running) -> None:
    """Rows, those inside, how many times as wide, and each season's mean."""
    families, record = _families(served), served.client.get("/models/live").json()["record"]
    rows, inside, widening, seasons = (families[name] for name in RECORD)
    assert rows == {(crop,): 27.0 for crop in CROPS}
    for crop, said in record.items():
        for level, held in said["levels"].items():
            assert (inside[crop, level], widening[crop, level]) == (held["inside"], held["widening"])
        assert {season: value for (of, season), value in seasons.items() if of == crop} == {
            season["season"]: pytest.approx(season["mean"]) for season in said["seasons"]
        }
    assert len(inside) == len(widening) == 2 * len(CROPS)


def test_without_a_record_metrics_have_no_samples(reading: Running) -> None:
    """The families are there: what reads them finds no series."""
    families = _families(reading)
    assert {name: families[name] for name in RECORD} == {name: {} for name in RECORD}
    assert reading.client.get("/health/ready").json()["details"] == []
    assert [said["rows"] for said in reading.client.get("/models/live").json()["record"].values()] == [0, 0]


def test_a_lean_is_told(served: Running) -> None:
    """In the details of readiness; it is ready all the same."""
    answer = served.client.get("/health/ready")
    assert (answer.status_code, answer.json()["details"]) == (200, [LEAN])


def _warned(running: Running, query: str = "") -> list[str]:
    warnings: list[str] = _one(running, "A", query)["warnings"]
    return warnings


def test_intervals_are_wider_and_say_so(served: Running, model: LinearModel) -> None:
    """By what the card says, about the same tons; once a crop, at the level that is asked for."""
    for level in ("0.8", "0.95", "0.99"):
        wide, plain = (_one(served, "A", f"?level={level}&exact={exact}") for exact in ("false", "true"))
        assert not any(SINCE in sentence for sentence in plain["warnings"])
        assert [sentence.partition(":")[0] for sentence in wide["warnings"] if SINCE in sentence] == [
            crop.crop for crop in model.crops if crop.widening(float(level)) > 1
        ]
        for crop in model.crops:
            first, second = wide["yields"][crop.crop], plain["yields"][crop.crop]
            assert first["tons"] == second["tons"]
            ratio = (first["high"] - first["tons"]) / (second["high"] - second["tons"])
            assert ratio == pytest.approx(crop.widening(float(level)), rel=1e-9)
    (pear,) = (sentence for sentence in _warned(served) if SINCE in sentence)
    assert pear == (
        "pear: 95% intervals held 52% of the 27 yields reported since; this one is 3.08 times as wide as its rows "
        "alone would have it"
    )


@pytest.mark.parametrize("query", ["", "?exact=true", "?level=0.8", "?effects=none", "?effects=none&exact=true"])
def test_every_form_gives_the_same(served: Running, query: str) -> None:
    """One by one, as rows, as columns, as CSV and as Arrow; each region's sentences once."""
    singly = [_one(served, name, query) for name in NAMES]
    expected = {name: [_ends(one)[name] for one in singly] for name in _ends(singly[0])}
    warnings = [one["warnings"] for one in singly]
    assert all(len(set(sentences)) == len(sentences) for sentences in warnings)
    assert ("exact=true" in query) != any(SINCE in sentence for sentence in warnings[0])
    rows = _asked(served, {"regions": [INSIDE | {"region": name} for name in NAMES]}, query)["predictions"]
    assert [_ends(row) for row in rows] == [_ends(one) for one in singly]
    assert [row["warnings"] for row in rows] == warnings
    columns = _asked(served, COLUMNS | {"region": NAMES}, query)
    assert {name: columns["yields"][name.split("_")[0]][name.split("_")[1]] for name in expected} == expected
    assert columns["warnings"] == warnings
    place = ",".join(map(repr, INSIDE.values()))
    text = "\n".join(["region,temperature,rainfall,humidity", *(f"{name or ''},{place}" for name in NAMES)])
    table = list(csv.DictReader(io.StringIO(_sent(served, text.encode(), "text/csv", query).text)))
    assert {name: [float(row[name]) for row in table] for name in expected} == expected
    sink = pa.BufferOutputStream()
    batch = pa.table({"region": pa.array(NAMES), **COLUMNS})
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_table(batch)
    found = pa.ipc.open_stream(_sent(served, bytes(sink.getvalue()), ARROW, query).content).read_all().to_pydict()
    assert {name: found[name] for name in expected} == expected


def _sent(running: Running, body: bytes, kind: str, query: str) -> httpx.Response:
    answer = running.client.post(f"/predict{query}", content=body, headers={"Content-Type": kind, "Accept": kind})
    assert answer.status_code == 200, answer.text
    return answer


def test_long_tables_are_as_wide(served: Running) -> None:
    """Those that the helper process answers."""
    place = ",".join(map(repr, INSIDE.values()))
    text = "region,temperature,rainfall,humidity\n" + f"A,{place}\nZ,{place}\n" * 1_500
    for query in ("", "?exact=true"):
        rows = list(csv.DictReader(io.StringIO(_sent(served, text.encode(), "text/csv", query).text)))
        for name, row in (("A", rows[0]), ("Z", rows[-1])):
            assert {key: float(row[key]) for key in _ends(_one(served, name, query))} == _ends(
                _one(served, name, query)
            )


@pytest.mark.parametrize("exact", [True, False, None])
def test_tensors_are_as_wide(served: Running, exact: bool | None) -> None:
    """As the parameter says."""
    inputs = [
        {"name": name, "shape": [len(NAMES)], "datatype": "FP64", "data": column} for name, column in COLUMNS.items()
    ]
    names = [name or "" for name in NAMES]
    inputs.append({"name": "region", "shape": [len(NAMES)], "datatype": "BYTES", "data": names})
    outputs = [{"name": name} for crop in CROPS for name in (crop, f"{crop}_low", f"{crop}_high")]
    parameters = {} if exact is None else {"exact": exact}
    body = {"inputs": inputs, "outputs": outputs, "parameters": parameters}
    answer = served.client.post("/v2/models/yield/infer", json=body)
    assert answer.status_code == 200, answer.text
    found = {output["name"]: output["data"] for output in answer.json()["outputs"]}
    query = "?exact=true" if exact else ""
    singly = [_ends(_one(served, name, query)) for name in NAMES]
    assert found == {
        f"{crop}{mark}": [one[f"{crop}_{end}"] for one in singly]
        for crop in CROPS
        for mark, end in (("", "tons"), ("_low", "low"), ("_high", "high"))
    }


def test_exact_is_true_or_false(served: Running) -> None:
    """Anything else is refused by its name."""
    refused = served.client.post("/predict?exact=perhaps", json=INSIDE)
    assert (refused.status_code, refused.json()["errors"][0]["loc"]) == (422, ["query", "exact"])
    inputs = [{"name": name, "shape": [1], "datatype": "FP64", "data": [value]} for name, value in INSIDE.items()]
    tensor = served.client.post("/v2/models/yield/infer", json={"inputs": inputs, "parameters": {"exact": "perhaps"}})
    assert (tensor.status_code, "parameters.exact" in tensor.json()["error"]) == (400, True)
    parameters = served.client.get("/openapi.json").json()["paths"]["/predict"]["post"]["parameters"]
    (exact,) = (said for said in parameters if said["name"] == "exact")
    assert (exact["schema"]["type"], exact["schema"]["default"]) == ("boolean", False)


def test_an_earlier_version_has_its_own(served: Running) -> None:
    """The first had none: asked for by its number its intervals are as they were."""
    assert _warned(served, "?version=1") == []
    assert _one(served, "A", "?version=1") == _one(served, "A", "?version=1&exact=true")


@pytest.mark.long
def test_a_stored_batch_is_asked(trained: Path, tmp_path: Path) -> None:
    """Of the version that was live when it was sent to POST /observations; a dry run says it and keeps nothing."""
    with serving(copy_store(trained, tmp_path / "store")) as running:
        assert running.client.post("/observations", json=HARVEST, headers=running.write).status_code == 201
        dry = running.client.post("/retrain", json={"dry_run": True}, headers=running.write).json()
        assert dry["decision"] == "accepted"
        assert running.client.post("/retrain", json={}, headers=running.write).json()["activated"]
        record = running.client.get("/models/live").json()["record"]
        assert json.dumps([said["rows"] for said in record.values()]) == "[3, 3]"
        assert record["mango"]["said"] == [
            "not yet known how well its intervals hold: only 3 yields have been reported after they could be predicted"
        ]
        assert _families(running)["orchard_record_rows"] == {("mango",): 3.0, ("orange",): 3.0}
        assert _families(running)["orchard_record_widening"]["mango", "0.95"] == 1.0
        assert _families(running)["orchard_record_season"] == {}  # the rows name none
