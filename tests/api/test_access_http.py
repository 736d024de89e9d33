"""GET /access over HTTP: what the caller may do, with its token or without one."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.api.tokens import ATTEMPTS
from app.main import create_app
from app.settings import Settings
from tests.running import HARVEST, Running, copy_store, serving

ANNA, READS = "anna-has-a-long-token", "a-token-for-reading"
PLACE = {"temperature": 75, "rainfall": 80, "humidity": 55}
NOTHING = {"who": None, "read": False, "rows": False, "write": False, "retrain": True}
WRITER = {"who": "anna", "read": True, "rows": True, "write": True, "retrain": True}


def _bearer(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token}"}


def _access(client: httpx.Client, headers: dict[str, str]) -> Any:
    answer = client.get("/access", headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json"), answer.text
    assert answer.headers["cache-control"] == "no-store"  # it is another one for another token
    return answer.json()


@pytest.fixture(params=[None, READS], ids=["reading is open", "reading is closed"])
def service(request: pytest.FixtureRequest, trained: Path, tmp_path: Path) -> Iterator[tuple[Running, bool]]:
    """Return a service that knows anna, and whether all may read."""
    store = copy_store(trained, tmp_path / "store")
    (store / "token").write_text(f"anna {ANNA}\n")
    closing = {} if request.param is None else {"ORCHARD_READ_TOKEN": request.param}
    with serving(store, **closing) as running:
        yield running, request.param is None


def test_what_it_says_is_so(service: tuple[Running, bool]) -> None:
    """Of no token, one for reading and one for writing: each call is let through where it says so, and nowhere else."""
    running, is_open = service
    assert _access(running.client, {}) == NOTHING | {"read": is_open}
    assert _access(running.client, _bearer(ANNA)) == WRITER
    if not is_open:
        assert _access(running.client, _bearer(READS)) == NOTHING | {"read": True, "rows": True}
    for token in (None, ANNA) if is_open else (None, ANNA, READS):
        said, headers = _access(running.client, _bearer(token)), _bearer(token)
        read = running.client.post("/predict", json=PLACE, headers=headers)
        rows = running.client.get("/observations", headers=headers)
        write = running.client.post("/models/1/activate", headers=headers)
        done = {"read": read.is_success, "rows": rows.is_success, "write": write.is_success}
        assert done == {name: said[name] for name in done}
        assert write.json().get("who") == said["who"]  # the name in the log of activations


def test_a_wrong_token_is_a_wrong_token(service: tuple[Running, bool]) -> None:
    """It is told by a 401 as anywhere, and counted with the others; none is no attempt, nor is another scheme."""
    running, is_open = service
    refused = running.client.get("/access", headers=_bearer("wrong"))
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")
    assert (refused.json()["detail"], refused.headers["www-authenticate"]) == ("the token is wrong", "Bearer")
    for _ in range(ATTEMPTS - 1):
        assert running.client.get("/access", headers=_bearer("wrong")).status_code == 401
    for path in ("/access", "/observations"):
        waiting = running.client.get(path, headers=_bearer("wrong"))
        assert (waiting.status_code, waiting.json()["code"]) == (429, "too_many_attempts")
    assert _access(running.client, _bearer(ANNA)) == WRITER
    for headers in ({}, {"Authorization": "Basic d3Jvbmc6d3Jvbmc="}):
        assert _access(running.client, headers) == NOTHING | {"read": is_open}


def test_a_token_that_is_gone(service: tuple[Running, bool]) -> None:
    """It is wrong from the moment that its line is; without one it is answered though no token can be read."""
    running, is_open = service
    (running.store / "token").write_text("ben ben-has-another-token\n")
    assert running.client.get("/access", headers=_bearer(ANNA)).status_code == 401
    assert _access(running.client, _bearer("ben-has-another-token"))["who"] == "ben"
    (running.store / "token").write_text("# nobody\n")
    assert running.client.get("/access", headers=_bearer(ANNA)).status_code == 503
    assert _access(running.client, {}) == NOTHING | {"read": is_open}


def test_the_document_lets_the_token_be_left_out(reading: Running) -> None:
    """Of the calls that take one only this, and scores, which need it for regions alone."""
    paths = reading.client.get("/openapi.json").json()["paths"]
    taken = {
        path: operation["security"] for path in paths for operation in paths[path].values() if "security" in operation
    }
    assert taken["/access"] == taken["/scores"] == [{"HTTPBearer": []}, {}]
    assert [path for path, security in taken.items() if {} in security] == ["/access", "/scores"]


def test_an_installation_that_serves_only(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without torch it says that it cannot train, as /retrain does with a 503."""

    async def ask() -> tuple[httpx.Response, httpx.Response]:
        store = copy_store(trained, tmp_path / "store")
        (store / "token").write_text(f"anna {ANNA}\n")
        app = create_app(Settings(model_store=store))
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=_bearer(ANNA)) as client,
        ):
            return await client.get("/access"), await client.post("/retrain", json=HARVEST)

    monkeypatch.setitem(sys.modules, "torch", None)
    access, retrained = asyncio.run(ask())
    assert access.json() == WRITER | {"retrain": False}
    assert (retrained.status_code, retrained.json()["code"]) == (503, "training_unavailable")
    assert "torch, which training needs, is not installed" in retrained.json()["detail"]
