"""The service that LitServe is asked to serve; it is started in a process of its own, which imports it."""

from typing import Any

import litserve

from scripts.bench.peers import lines, tons


class Yields(litserve.LitAPI):  # type: ignore[misc]
    """Tons by crop."""

    def setup(self, device: str) -> None:
        """Take the weights."""
        del device
        self.lines = lines()

    def decode_request(self, request: dict[str, Any], **_: Any) -> tuple[float, float, float]:
        """Return the weather."""
        return request["temperature"], request["rainfall"], request["humidity"]

    def predict(self, weather: tuple[float, float, float], **_: Any) -> dict[str, float]:
        """Predict for one region."""
        return tons(self.lines, weather)

    def encode_response(self, output: dict[str, float], **_: Any) -> dict[str, float]:
        """Return the answer."""
        return output


def serve(port: int) -> None:
    """Serve."""
    litserve.LitServer(Yields(), accelerator="cpu").run(port=port, log_level="error", generate_client_file=False)
