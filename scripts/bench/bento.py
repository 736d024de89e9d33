"""The service that BentoML is asked to serve."""

from typing import Any

import bentoml
import numpy as np

from scripts.bench.peers import weights


@bentoml.service
class Yields:
    """Tons by crop."""

    def __init__(self) -> None:
        self.slopes, self.intercepts = map(np.array, weights())

    @bentoml.api
    async def predict(self, weather: dict[str, Any]) -> dict[str, float]:
        """Predict for one region."""
        tons = self.slopes @ [weather["temperature"], weather["rainfall"], weather["humidity"]] + self.intercepts
        return {"mango": float(tons[0]), "orange": float(tons[1])}
