"""GeoJSON: what is read of it, and that an answer is the body that was sent, with predictions in it."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.openapi.examples import POWER
from app.errors import InvalidInput, MalformedInput, OrchardError, TooLarge
from app.wire.answers import ENDS
from app.wire.formats import reply
from app.wire.geojson import read
from app.wire.media_types import ARROW, CSV, GEOJSON, JSON
from app.wire.parts import take
from app.wire.questions import Question
from tests.wire.test_formats import LINES, OPTIONS

ADDED = [*(f"{crop}_{end}" for crop in LINES for end in ENDS), "extrapolated", "warnings"]
WEATHER = {"temperature": 70, "rainfall": 50, "humidity": 40}
"""115 tons of mango, 2.5 of rye."""
GEO = replace(OPTIONS, sent=GEOJSON, wanted=GEOJSON)


def _feature(properties: dict[str, Any] | None = None, **members: Any) -> dict[str, Any]:
    return {"type": "Feature", "geometry": None, "properties": WEATHER | (properties or {})} | members


def _collection(*features: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": list(features)} | members


def _answered(body: bytes | dict[str, Any]) -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return take(reply(content, GEO)[0])


def _question(body: dict[str, Any]) -> Question:
    return read(json.dumps(body).encode(), 10)


def test_a_body_comes_back_as_it_came() -> None:
    """Every byte that was sent: spaces, spelling, digits that no float has, positions, members nobody knows."""
    before = b"""{"type": "FeatureCollection", "crs": {"properties": {"mango_tons": 1}, "features": [{"properties": {}}]
  }, "features": [
    {"properties" : {"area": 4.10, "big": 123456789012345678901234567890, "deep": {"rye_low": [1e400, {"a": "}"}]},
       "temperature": 7e1, "rainfall": 50.000, "humidity": 40, "caf\\u00e9": "\\"features\\":[{" """
    between = b""" }, "type": "Feature",
       "geometry": { "type": "Polygon", "coordinates": [ [ [ 5.670000000000000000000001, -0.0 ],
            [ 1E+2, 52.10 ], [] ] ], "bbox": [1,2,3,4] }, "id": 7 },
    {"type": "Feature", "properties": {"temperature": 70, "rainfall": 50, "humidity": 40 """
    end = b"""}, "geometry": null} ], "bbox": [ 1.0, 2.00 ] """
    answer = _answered(before + between + end + b"}\n")
    for part in (before.rstrip(), between, end.rstrip()):
        assert part.rstrip() in answer
    told = b',"mango_tons":115.0,"mango_low":'
    assert answer.count(told) == 2
    assert answer.replace(b',"model_version":"7"', b"").startswith(before.rstrip() + told)
    assert answer.rstrip().endswith(b"""}, "geometry": null} ], "bbox": [ 1.0, 2.00 ],"model_version":"7" }""")
    read_again = json.loads(answer)
    assert read_again["crs"] == {"properties": {"mango_tons": 1}, "features": [{"properties": {}}]}
    first, second = (feature["properties"] for feature in read_again["features"])
    assert list(first) == ["area", "big", "deep", "temperature", "rainfall", "humidity", "café", *ADDED]
    assert (first["mango_tons"], second["rye_tons"], second["rye_low"], second["warnings"][:0]) == (
        115.0,
        2.5,
        None,
        [],
    )


unread = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["properties", "features", "mango_tons", "coordinates", "x", '"']), inner)
    ),
    max_leaves=6,
)
others = st.dictionaries(
    st.sampled_from(["a", "properties", "features", "coordinates", "geometry", "b\\", "é"]), unread
)
already = st.dictionaries(st.sampled_from([*ADDED, "model_version"]), unread)


@given(
    st.lists(st.tuples(others, already, others), min_size=1, max_size=3),
    others,
    unread,
    st.booleans(),
    st.sampled_from([None, 1]),
    st.booleans(),
)
def test_what_is_not_ours_is_not_touched(
    rows: list[tuple[dict[str, Any], ...]],
    more: dict[str, Any],
    version: Any,
    one: bool,
    indent: int | None,
    ascii_only: bool,
) -> None:
    """Whatever stands around the weather; properties of an earlier answer are written anew, where they stand."""
    features = [
        {key: value for key, value in around.items() if key != "properties"}
        | {"type": "Feature", "properties": behind | given | WEATHER}
        for around, given, behind in rows
    ]
    outer = {key: value for key, value in more.items() if key not in ("features", "properties")}
    body = outer | ({"model_version": version} | features[0] if one else _collection(*features))
    answer = _answered(json.dumps(body, indent=indent, ensure_ascii=ascii_only).encode())
    found = json.loads(answer)
    assert found.pop("model_version") == "7"
    body.pop("model_version", None)
    for asked, told in zip([body] if one else body["features"], [found] if one else found["features"], strict=True):
        new = {name: told["properties"].pop(name) for name in ADDED}
        assert (new["mango_tons"], new["rye_high"], new["extrapolated"]) == (115.0, None, False)
        for name in ADDED:
            asked["properties"].pop(name, None)
    assert found == body
    assert _answered(answer) == answer


def test_names_are_known_however_they_are_spelled() -> None:
    """An escaped name is the same name: it is not written a second time."""
    answer = _answered(
        b'{"type":"Feature","propert\\u0069es":{"temperature":70,"rainfall":50,"humidity":40,"mango\\u005ftons":1}}'
    )
    assert answer.count(b"mango_tons") == 0
    assert json.loads(answer)["properties"]["mango_tons"] == 115.0


@pytest.mark.parametrize(
    ("feature", "region"),
    [
        (_feature(), None),
        (_feature({"name": "N"}), "N"),
        (_feature({"name": "N"}, id="I"), "I"),
        (_feature({"name": 5, "region": "R"}, id=["x"]), "R"),
        (_feature({"region": None}, id=17), "17"),
        (_feature({"region": ""}, id=17), ""),
        (_feature(id=1.5), "1.5"),
    ],
)
def test_where_a_region_has_its_name(feature: dict[str, Any], region: str | None) -> None:
    """In its properties as `region`, else it is the `id`, else `name`."""
    assert list(_question(feature).regions) == [region]
    assert _question(feature).shape == "one"
    assert list(_question(_collection(feature, feature)).regions) == [region] * 2


@pytest.mark.parametrize(
    ("body", "kind", "place", "message"),
    [
        (_collection(_feature(), _feature({"humidity": 101})), InvalidInput, ("features", 1, "properties", "humidity"),
         "101 is above 100 %"),
        (_collection(_feature(), _feature({"humidity": None})), InvalidInput,
         ("features", 1, "properties", "humidity"), "null is not a number"),
        (_collection(_feature(), {"type": "Feature", "properties": None}), InvalidInput, ("features", 1, "properties"),
         "is not an object"),
        (_collection({"type": "Feature"}), InvalidInput, ("features", 0, "properties"), "is missing"),
        (_collection(_feature(type="Point")), InvalidInput, ("features", 0, "type"), '"Point" is not \'Feature\''),
        (_collection(), InvalidInput, ("features",), "has 0 entries, at least 1 are needed"),
        ({"type": "FeatureCollection"}, InvalidInput, ("features",), "is missing"),
        ({"type": "Polygon", "coordinates": []}, InvalidInput, ("type",),
         "'Polygon' is neither 'FeatureCollection' nor 'Feature'"),
        (_feature({"temperature": "70"}), InvalidInput, ("properties", "temperature"), '"70" is not a number'),
        (_feature({"region": 5.5}), InvalidInput, ("properties", "region"), "5.5 is not a string"),
        (_collection(_feature(), _feature(id=True)), InvalidInput, ("features", 1, "id"), "True is not a string"),
        (_feature({"name": ["x"]}), InvalidInput, ("properties", "name"), "['x'] is not a string"),
        (_feature({"name": "x" * 201}), InvalidInput, ("properties", "name"), "is longer than 200 characters"),
        (_feature({"rainfall": float("nan")}), MalformedInput, ("properties", "rainfall"), "NaN is not finite"),
        (_feature({"unread": float("nan")}), MalformedInput, (),
         "the body is not JSON, which has no NaN and no Infinity: expected value at line 1 column 115"),
        ([], InvalidInput, (), "is not an object"),
        (5, InvalidInput, (), "is not an object"),
    ],
)  # fmt: skip
def test_faults_have_their_place(body: Any, kind: type[OrchardError], place: tuple[Any, ...], message: str) -> None:
    """In the collection that was sent, with the value and its bound."""
    with pytest.raises(kind) as refused:
        _question(body)
    assert type(refused.value) is kind
    (fault,) = refused.value.errors
    assert (fault.loc, fault.message) == (place, message)


def test_the_place_in_broken_json_is_that_of_the_body() -> None:
    """Although positions before it were not parsed."""
    body = b'{"type":"Feature","geometry":{"type":"LineString","coordinates":[[1,2],\n[3,4]]},"properties":nonsense}'
    with pytest.raises(MalformedInput, match=r"line 2 column 23$"):
        read(body, 10)
    assert body.split(b"\n")[1][22:].startswith(b"onsense")


def test_more_features_than_rows() -> None:
    """Each counts as one."""
    with pytest.raises(TooLarge, match="11 rows in features: the limit is 10"):
        _question(_collection(*[_feature()] * 11))


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b"region,temperature,rainfall,humidity\nA,70,50,40\n", ["region"]),
        (b"humidity,rainfall,temperature\n40,50,70\n", []),
    ],
)
def test_what_has_no_geometry_is_answered_without_one(body: bytes, names: list[str]) -> None:
    """A table's columns are the features' properties."""
    answer = json.loads(take(reply(body, replace(GEO, sent=CSV))[0]))
    header = body.decode().split("\n")[0].split(",")
    (feature,) = answer["features"]
    assert (list(answer), list(feature)) == (["type", "features", "model_version"], ["type", "geometry", "properties"])
    assert (answer["type"], feature["type"], feature["geometry"]) == ("FeatureCollection", "Feature", None)
    assert list(feature["properties"]) == [*header, *ADDED]
    assert feature["properties"]["mango_tons"] == 115.0
    assert ("region" in feature["properties"]) is bool(names)


def test_one_region_of_json_is_one_feature() -> None:
    """The answer has the question's shape."""
    answer = json.loads(take(reply(json.dumps(WEATHER).encode(), replace(GEO, sent=JSON))[0]))
    assert list(answer) == ["type", "geometry", "properties", "model_version"]
    assert (answer["type"], answer["model_version"]) == ("Feature", "7")


@pytest.mark.parametrize("wanted", [JSON, CSV, ARROW])
def test_features_in_other_formats(wanted: str) -> None:
    """A Feature is one region, a FeatureCollection several."""
    for body in (_feature(id="A"), _collection(_feature(id="A"), _feature(id="B"))):
        content = take(reply(json.dumps(body).encode(), replace(GEO, wanted=wanted))[0])
        assert b"115.0" in content or wanted == ARROW
        if wanted == JSON:
            answer = json.loads(content)
            assert [row["region"] for row in answer.get("predictions", [answer])] == ["A", "B"][
                : 1 + ("features" in body)
            ]


def test_an_answer_of_power_is_geojson_too() -> None:
    """Its feature comes back, with what its days lead to."""
    answer = json.loads(_answered(json.dumps(POWER).encode()))
    assert {name: value for name, value in answer["properties"].items() if name not in ADDED} == POWER["properties"]
    assert {name: value for name, value in answer.items() if name not in ("properties", "model_version")} == {
        name: value for name, value in POWER.items() if name != "properties"
    }
    question = read(json.dumps(POWER).encode(), 10)
    mean = np.mean(list(POWER["properties"]["parameter"]["T2M"].values()))
    assert question.weather[0][0] == pytest.approx(1.8 * mean + 32)
