"""Whole grids of regions in one request, in every format."""

import asyncio
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from statistics import median

import numpy as np
import orjson
import pyarrow as pa
from starlette.types import ASGIApp, Message

from app.data.tables import parse_observations
from app.main import create_app
from app.model.moments import Array
from app.model.weather import FEATURE_NAMES
from app.settings import Settings
from scripts.bench import services
from scripts.bench.servers import UVICORN, Connection, Kind, Server

CHUNK = 2**16
"""Bytes of a body that uvicorn hands over at a time."""
ROOM = 2**26
"""Bytes: larger than any answer."""
ARROW = "application/vnd.apache.arrow.stream"


@dataclass(frozen=True)
class Form:
    """One way to ask about many regions."""

    name: str
    content_type: str
    path: str
    write: Callable[[dict[str, Array]], bytes]


def regions(count: int) -> dict[str, Array]:
    """Return random weather like that of the tutorial's regions: each a mix of three of them, to a tenth of a unit."""
    table = parse_observations(files("app.data").joinpath("tutorial.csv").read_bytes())
    draw = np.random.default_rng(0)
    shares = draw.dirichlet([1.0, 1.0, 1.0], count)
    corners = table.weather[draw.integers(len(table), size=(count, 3))]
    weather = np.round(np.einsum("nc,ncf->nf", shares, corners), 1)
    return dict(zip(FEATURE_NAMES, np.ascontiguousarray(weather.T), strict=True))


def _rows(weather: dict[str, Array]) -> list[dict[str, float]]:
    rows = zip(*(column.tolist() for column in weather.values()), strict=True)
    return [dict(zip(FEATURE_NAMES, row, strict=True)) for row in rows]


def _rows_json(weather: dict[str, Array]) -> bytes:
    return json.dumps({"regions": _rows(weather)}).encode()


def _list_json(weather: dict[str, Array]) -> bytes:
    return json.dumps(_rows(weather)).encode()


def _columns_json(weather: dict[str, Array]) -> bytes:
    return orjson.dumps(weather, option=orjson.OPT_SERIALIZE_NUMPY)


def _csv(weather: dict[str, Array]) -> bytes:
    lines = [",".join(map(repr, row.values())) for row in _rows(weather)]
    return "\n".join([",".join(FEATURE_NAMES), *lines]).encode()


def _arrow(weather: dict[str, Array]) -> bytes:
    batch = pa.RecordBatch.from_pydict(weather)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


IDIOMATIC_ROWS = Form("rows of objects, idiomatic", "application/json", "/predict/many", _list_json)
ROWS = Form("rows of objects", "application/json", "/predict", _rows_json)
CSV = Form("CSV", "text/csv", "/predict", _csv)
COLUMNS = Form("columns", "application/json", "/predict", _columns_json)
ARROW_STREAM = Form("Arrow", ARROW, "/predict", _arrow)


ARROW_ECHO = Form("nothing: as many bytes in and out of uvicorn as Arrow's", ARROW, "/predict", _arrow)
ECHO = Kind("uvicorn, as many bytes", [*UVICORN, "scripts.bench.services:echo", "--lifespan", "off"])


class Question:
    """A body ready to be sent to a server."""

    def __init__(self, form: Form, weather: dict[str, Array], server: Server) -> None:
        self.form = form
        self._body = form.write(weather)
        self._connection = Connection(server.port, ROOM)

    def milliseconds(self) -> float:
        """Ask once, and return how long it took to the answer's last byte."""
        began = time.perf_counter()
        answer = self._connection.post(self.form.path, self._body, {"Content-Type": self.form.content_type})
        took = time.perf_counter() - began
        if b" 200 " not in bytes(answer[:16]):
            raise RuntimeError(f"{self.form.name}: {bytes(answer[:300])!r}")
        return took * 1e3


def milliseconds(questions: list[Question], rounds: int) -> dict[Form, float]:
    """Return the median time of each form, asked in turn."""
    times: dict[Form, list[float]] = {question.form: [] for question in questions}
    for question in questions:
        question.milliseconds()
    for _ in range(rounds):
        for question in questions:
            times[question.form].append(question.milliseconds())
    return {form: median(each) for form, each in times.items()}


def milliseconds_inside(store: Path, weather: dict[str, Array], rounds: int) -> dict[Form, float]:
    """Return the median time of each form inside the service: from the body to the answer, without sockets."""
    os.environ["ORCHARD_MODEL_STORE"] = str(store)
    with asyncio.Runner() as runner:
        orchard, idiomatic = create_app(Settings(model_store=store)), services.idiomatic()
        lifespan = orchard.router.lifespan_context(orchard)
        runner.run(lifespan.__aenter__())
        times: dict[Form, list[float]] = {}
        for _ in range(rounds + 1):
            for form in (IDIOMATIC_ROWS, ROWS, CSV, COLUMNS, ARROW_STREAM):
                app = idiomatic if form is IDIOMATIC_ROWS else orchard
                took = runner.run(_inside(app, form, form.write(weather)))
                times.setdefault(form, []).append(took * 1e3)
        runner.run(lifespan.__aexit__(None, None, None))
    return {form: median(each[1:]) for form, each in times.items()}


async def _inside(app: ASGIApp, form: Form, body: bytes) -> float:
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": form.path,
        "query_string": b"",
        "headers": [(b"content-type", form.content_type.encode()), (b"content-length", b"%d" % len(body))],
    }
    statuses = []

    parts = [body[start : start + CHUNK] for start in range(0, len(body), CHUNK)]
    messages = iter([{"type": "http.request", "body": part, "more_body": part is not parts[-1]} for part in parts])

    async def receive() -> Message:
        return next(messages)

    async def send(message: Message) -> None:
        statuses.append(message.get("status"))

    began = time.perf_counter()
    await app(scope, receive, send)
    took = time.perf_counter() - began
    if statuses[0] != 200:  # noqa: PLR2004 - HTTP's OK
        raise RuntimeError(f"{form.name}: {statuses[0]}")
    return took
