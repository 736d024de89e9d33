"""Model servers to compare with, where they are installed: the same weights behind each one's own interface.

They are no dependencies of the project. Install those you want beside it, such as ``pip install litserve``.
"""

import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

from scripts.bench.servers import BODY, Kind

HERE = "scripts.bench.peers"
V2_BODY = json.dumps(
    {"inputs": [{"name": "input", "shape": [1, 3], "datatype": "FP64", "data": [73, 67, 43]}]}
).encode()


def weights() -> tuple[list[tuple[float, ...]], list[float]]:
    """Return the live version's weights and intercepts."""
    from app.store.objects import Objects  # noqa: PLC0415 - in the peer's process
    from app.store.registry import Registry  # noqa: PLC0415

    _, version, _ = Registry(Objects(Path(os.environ["ORCHARD_MODEL_STORE"]))).live()
    crops = version.model.crops
    return [crop.weights for crop in crops], [crop.intercept for crop in crops]


def installed() -> list[Kind]:
    """Return the peers that can be started here."""
    peers = {
        "litserve": Kind("LitServe", [sys.executable, "-c", f"from {HERE} import litserve; litserve({{port}})"]),
        "bentoml": Kind(
            "BentoML",
            [sys.executable, "-m", "bentoml", "serve", "scripts.bench.bento:Yields", "--port", "{port}"],
            "/predict",
            b'{"weather":' + BODY + b"}",
        ),
        "mlserver": Kind(
            "MLServer",
            [sys.executable, "-c", f"from {HERE} import mlserver; mlserver({{port}})"],
            "/v2/models/yield/infer",
            V2_BODY,
        ),
    }
    return [kind for module, kind in peers.items() if importlib.util.find_spec(module)]


def litserve(port: int) -> None:
    """Serve with LitServe."""
    import litserve as ls  # noqa: PLC0415 - not installed everywhere
    import numpy as np  # noqa: PLC0415

    class Yields(ls.LitAPI):  # type: ignore[misc]
        def setup(self, device: str) -> None:
            del device
            self.slopes, self.intercepts = map(np.array, weights())

        def decode_request(self, request: dict[str, Any], **_: Any) -> Any:
            return np.array([request["temperature"], request["rainfall"], request["humidity"]])

        def predict(self, weather: Any, **_: Any) -> Any:
            return self.slopes @ weather + self.intercepts

        def encode_response(self, tons: Any, **_: Any) -> dict[str, float]:
            return {"mango": float(tons[0]), "orange": float(tons[1])}

    ls.LitServer(Yields(), accelerator="cpu").run(port=port, log_level="error", generate_client_file=False)


def mlserver(port: int) -> None:
    """Serve with MLServer, in its own process: no pool of workers in between."""
    import asyncio  # noqa: PLC0415

    import numpy as np  # noqa: PLC0415
    from mlserver import MLModel, MLServer, ModelSettings, Settings  # noqa: PLC0415 - not installed everywhere
    from mlserver.codecs import NumpyCodec  # noqa: PLC0415
    from mlserver.types import InferenceRequest, InferenceResponse  # noqa: PLC0415

    class Yields(MLModel):  # type: ignore[misc]
        async def load(self) -> bool:
            self.slopes, self.intercepts = map(np.array, weights())
            return True

        async def predict(self, payload: InferenceRequest) -> InferenceResponse:
            tons = NumpyCodec.decode_input(payload.inputs[0]) @ self.slopes.T + self.intercepts
            return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("tons", tons)])

    async def serve() -> None:
        server = MLServer(
            Settings(http_port=port, grpc_port=port + 1, metrics_port=port + 2, parallel_workers=0, debug=False)
        )
        await server.start([ModelSettings(name="yield", implementation=Yields)])

    asyncio.run(serve())
