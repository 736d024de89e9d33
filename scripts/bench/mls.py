"""The model that MLServer is asked to serve, in its own process: no pool of workers in between."""

import asyncio

import numpy as np
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

from scripts.bench.peers import weights


class Yields(MLModel):  # type: ignore[misc]
    """Tons by crop."""

    async def load(self) -> bool:
        """Take the weights."""
        self.slopes, self.intercepts = map(np.array, weights())
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Predict for the rows of a tensor."""
        tons = NumpyCodec.decode_input(payload.inputs[0]) @ self.slopes.T + self.intercepts
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("tons", tons)])


async def _serve(port: int) -> None:
    settings = Settings(http_port=port, grpc_port=port + 1, metrics_endpoint=None, parallel_workers=0, debug=False)
    model = ModelSettings(name="yield", implementation="scripts.bench.mls.Yields")
    await MLServer(settings).start([model])


def serve(port: int) -> None:
    """Serve."""
    asyncio.run(_serve(port))
