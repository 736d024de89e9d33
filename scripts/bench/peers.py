"""What to compare with besides: other model servers, quick frameworks, and the bare limits, where they are installed.

They are no dependencies of the project: `scripts/peers` installs them into an environment of their own, `.venv-peers`,
as far as they can be installed. Each has the live version's weights, which the benchmark hands over.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts.bench.servers import BODY, ROOT, Kind

HERE = "scripts.bench.peers"
WEIGHTS = "ORCHARD_BENCH_WEIGHTS"
"""The variable that holds them."""
OWN = ROOT / ".venv-peers" / "bin" / "python"
PYTHON = str(OWN) if OWN.exists() else sys.executable
V2_BODY = json.dumps(
    {"inputs": [{"name": "input", "shape": [1, 3], "datatype": "FP64", "data": [73, 67, 43]}]}
).encode()
GRANIAN = [PYTHON, "-m", "granian", "--port", "{port}", "--log-level", "error", "--interface"]
NGINX = """daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr crit;
events {{ worker_connections 1024; }}
http {{ access_log off; keepalive_requests 100000000; client_body_temp_path {folder}; server {{ listen 127.0.0.1:{port};
location / {{ default_type application/json; return 200 '{body}'; }} }} }}
"""


PEERS: list[tuple[str, Kind]] = [
    ("granian", Kind("granian, a constant body", [*GRANIAN, "asginl", "scripts.bench.constant:floor"])),
    ("litestar", Kind("Litestar + msgspec", [*GRANIAN, "asgi", f"{HERE}:litestar", "--factory"])),
    ("blacksheep", Kind("BlackSheep + pydantic", [*GRANIAN, "asgi", f"{HERE}:blacksheep", "--factory"])),
    ("litserve", Kind("LitServe", [PYTHON, "-c", "from scripts.bench.lit import serve; serve({port})"])),
    (
        "bentoml",
        Kind(
            "BentoML",
            [PYTHON, "-m", "bentoml", "serve", "scripts.bench.bento:Yields", "--port", "{port}"],
            "/predict",
            b'{"weather":' + BODY + b"}",
        ),
    ),
    (
        "mlserver",
        Kind(
            "MLServer",
            [PYTHON, "-c", "from scripts.bench.mls import serve; serve({port})"],
            "/v2/models/yield/infer",
            V2_BODY,
        ),
    ),
]


def weights() -> tuple[list[list[float]], list[float]]:
    """Return the live version's weights and intercepts."""
    slopes, intercepts = json.loads(os.environ[WEIGHTS])
    return slopes, intercepts


def hand_over(store: Path) -> None:
    """Let the processes that are started have the live version's weights."""
    from app.store.objects import Objects  # noqa: PLC0415 - in the benchmark's process
    from app.store.registry import Registry  # noqa: PLC0415

    crops = Registry(Objects(store)).live()[1].model.crops
    os.environ[WEIGHTS] = json.dumps([[crop.weights for crop in crops], [crop.intercept for crop in crops]])


def installed() -> list[Kind]:
    """Return what can be started here."""
    names = [module for module, _ in PEERS]
    code = f"import importlib.util; print(*[name for name in {names} if importlib.util.find_spec(name)])"
    found = subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    nginx = [Kind("nginx, return 200", [sys.executable, "-m", HERE, "{port}"])] if shutil.which("nginx") else []
    return [*nginx, *(kind for module, kind in PEERS if module in found)]


def nginx(port: int) -> None:
    """Become nginx, which answers all requests with the same text."""
    folder = Path(os.environ.get("TMPDIR", "/tmp")) / f"nginx-{port}"  # noqa: S108 - for the time of a benchmark
    folder.mkdir(exist_ok=True)
    file = folder / "nginx.conf"
    from scripts.bench.constant import ANSWER  # noqa: PLC0415 - no other peer needs it

    file.write_text(NGINX.format(port=port, folder=folder, body=ANSWER.decode()))
    os.execvp("nginx", ["nginx", "-c", str(file)])  # noqa: S606, S607 - it takes this process's place


def lines() -> list[tuple[float, ...]]:
    """Return each crop's weights, and behind them its intercept."""
    slopes, intercepts = weights()
    return [(*slope, intercept) for slope, intercept in zip(slopes, intercepts, strict=True)]


def tons(of: Sequence[Sequence[float]], weather: Sequence[float]) -> dict[str, float]:
    """Return both crops' tons, by plain arithmetic."""
    temperature, rainfall, humidity = weather
    mango, orange = (w0 * temperature + w1 * rainfall + w2 * humidity + b for w0, w1, w2, b in of)
    return {"mango": mango, "orange": orange}


def litestar() -> Any:
    """Return a Litestar application with msgspec types: what its documentation shows, and plain arithmetic."""
    from typing import Annotated  # noqa: PLC0415 - names that Litestar reads

    import msgspec  # noqa: PLC0415
    from litestar import Litestar, post  # noqa: PLC0415

    class Region(msgspec.Struct):  # type: ignore[misc]
        temperature: Annotated[float, msgspec.Meta(ge=-130, le=140)]
        rainfall: Annotated[float, msgspec.Meta(ge=0, le=30_000)]
        humidity: Annotated[float, msgspec.Meta(ge=0, le=100)]
        region: str | None = None

    known = lines()

    async def predict(data: Region) -> dict[str, float]:
        return tons(known, (data.temperature, data.rainfall, data.humidity))

    predict.__annotations__ = {"data": Region, "return": dict[str, float]}
    return Litestar([post("/predict", status_code=200)(predict)], openapi_config=None)


def blacksheep() -> Any:
    """Return a BlackSheep application that validates by pydantic."""
    from blacksheep import Application, Content, Request, Response  # noqa: PLC0415
    from pydantic import BaseModel, Field  # noqa: PLC0415

    class Region(BaseModel):
        region: str | None = None
        temperature: float = Field(ge=-130, le=140)
        rainfall: float = Field(ge=0, le=30_000)
        humidity: float = Field(ge=0, le=100)

    known = lines()
    application = Application()

    async def predict(request: Request) -> Response:
        region = Region.model_validate_json(await request.read())
        found = tons(known, (region.temperature, region.rainfall, region.humidity))
        return Response(200, content=Content(b"application/json", json.dumps(found).encode()))

    predict.__annotations__ = {"request": Request, "return": Response}
    application.router.add_post("/predict", predict)
    return application


if __name__ == "__main__":
    nginx(int(sys.argv[1]))
