"""The express lane answers byte for byte as the general path, or leaves the request to it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.data.tables import Table, parse_observations
from app.settings import Settings
from tests.asking import Service
from tests.panels import learned, surprised, with_effects


@pytest.fixture(scope="module", params=["tutorial", "two spreads", "effects", "a record"])
def service(
    request: pytest.FixtureRequest, tutorial: Table, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """Return services whose crops have the same rows, and different rows, regions that differ, and wider intervals."""
    store = Settings(model_store=tmp_path_factory.mktemp("store"))
    if request.param == "a record":
        surprised(store.model_store)
    else:
        tables = {"tutorial": tutorial, "two spreads": _two_spreads(), "effects": with_effects()}
        learned(tables[request.param], store.model_store)
    service = Service(store)
    yield service
    service.close()


def _two_spreads() -> Table:
    text = (Path(__file__).parent.parent.parent / "app" / "data" / "tutorial.csv").read_text().splitlines()
    rows = [line.split(",") for line in text]
    for row in rows[10:]:
        row[5] = ""  # orange is reported by nine rows only
    return parse_observations("\n".join(",".join(row) for row in rows).encode())


HEADERS = {"content-type": "application/json", "x-request-id": "same"}
number = st.one_of(
    st.floats(-200, 200), st.floats(), st.integers(-40_000, 40_000), st.booleans(), st.text(max_size=3), st.none()
)
region = st.one_of(st.none(), st.text(max_size=210), st.integers())
likely = {"temperature": st.floats(-130, 140), "rainfall": st.floats(0, 30_000), "humidity": st.floats(0, 100)}
inside = {"temperature": st.floats(66, 105), "rainfall": st.floats(0, 140), "humidity": st.integers(34, 73)}
bodies = st.one_of(
    st.fixed_dictionaries(likely, optional={"region": st.text(max_size=200)}),
    st.fixed_dictionaries(inside, optional={"region": st.text(max_size=20)}),
    st.fixed_dictionaries(inside, optional={"region": st.sampled_from(["A", "I", "Z", ""])}),
    st.fixed_dictionaries({}, optional=dict.fromkeys(likely, number) | {"region": region, "extra": number}),
)


@given(bodies)
@settings(max_examples=300)
def test_both_paths_answer_the_same_bytes(service: Service, body: dict[str, Any]) -> None:
    """Status, body and headers are the same on both paths, for valid and invalid regions alike."""
    content = json.dumps(body).encode()
    quick = service.ask(content, dict(HEADERS), express=True)
    general = service.ask(content, dict(HEADERS), express=False)
    assert quick == general


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ({}, ""),
        ({"content-type": "application/json; charset=utf-8"}, ""),
        ({"content-type": "text/csv"}, ""),
        ({"content-type": "text/plain"}, ""),
        ({"accept": "text/csv"}, ""),
        ({"accept": "image/png"}, ""),
        ({"accept": "application/json, */*"}, ""),
        ({"accept": "application/json;q=0"}, ""),
        ({"x-request-id": "a b"}, ""),
        ({"split": "yes"}, ""),
        ({}, "level=0.8"),
        ({}, "explain=true"),
        ({}, "version=1"),
        ({}, "version=9"),
        ({}, "effects=all"),
        ({}, "effects=some"),
        ({}, "exact=false"),
        ({}, "exact=true"),
        ({}, "exact=perhaps"),
    ],
)
def test_other_requests_are_answered_alike(service: Service, headers: dict[str, str], query: str) -> None:
    """Content types, Accept, chunked bodies and queries make no difference between the paths."""
    content = b'{"temperature": 73, "rainfall": 67, "humidity": 43}'
    quick = service.ask(content, {"x-request-id": "same"} | headers, express=True, query=query)
    general = service.ask(content, {"x-request-id": "same"} | headers, express=False, query=query)
    if headers.get("x-request-id"):
        assert quick[1].pop(b"x-request-id") != general[1].pop(b"x-request-id")
    assert quick[0] == general[0]
    assert quick[1] == general[1]
    assert quick[2].replace(b" ", b"") == general[2].replace(b" ", b"") or b"request_id" in quick[2]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b'{"temperature": NaN}', b'{"regions": []}'])
def test_unreadable_bodies_are_answered_alike(service: Service, body: bytes) -> None:
    """What is not a region is left to the general path, whole."""
    quick = service.ask(body, dict(HEADERS), express=True)
    assert quick == service.ask(body, dict(HEADERS), express=False)
    assert quick[0] in {400, 422}
