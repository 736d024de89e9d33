"""What Orchard is compared with: the least that uvicorn can do, and the service that most people would write."""

import os
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI
from pydantic import BaseModel, Field
from starlette.types import Receive, Scope, Send

from app.store.objects import Objects
from app.store.registry import Registry

BYTES = bytes(7_314_032)
"""As many as Orchard's answer in Arrow about 100 000 regions has."""


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Take a body and answer constant bytes: what moving a large question and its answer costs at least."""
    del scope
    while (await receive()).get("more_body"):
        """Only takes it."""
    headers = [(b"content-length", b"%d" % len(BYTES)), (b"content-type", b"application/octet-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BYTES})


class Region(BaseModel):
    """One region's weather."""

    region: str | None = None
    temperature: Annotated[float, Field(ge=-130, le=140)]
    rainfall: Annotated[float, Field(ge=0, le=30_000)]
    humidity: Annotated[float, Field(ge=0, le=100)]


class Prediction(BaseModel):
    """Tons by crop: no interval, no warning."""

    region: str | None
    mango: float
    orange: float


def idiomatic() -> FastAPI:
    """Return FastAPI with pydantic models around a torch module, as tutorials show it, with Orchard's live weights."""
    import torch  # noqa: PLC0415 - only this service's process needs it

    _, version, _ = Registry(Objects(Path(os.environ["ORCHARD_MODEL_STORE"]))).live()
    crops = version.model.crops
    model = torch.nn.Linear(3, len(crops))
    with torch.no_grad():
        model.weight.copy_(torch.tensor([crop.weights for crop in crops]))
        model.bias.copy_(torch.tensor([crop.intercept for crop in crops]))
    torch.set_num_threads(1)
    app = FastAPI()

    @app.post("/predict")
    async def predict(region: Region) -> Prediction:
        with torch.no_grad():
            tons = model(torch.tensor([[region.temperature, region.rainfall, region.humidity]]))
        mango, orange = tons[0].tolist()
        return Prediction(region=region.region, mango=mango, orange=orange)

    @app.post("/predict/many")
    async def predict_many(regions: list[Region]) -> list[Prediction]:
        with torch.no_grad():
            tons = model(torch.tensor([[region.temperature, region.rainfall, region.humidity] for region in regions]))
        return [
            Prediction(region=region.region, mango=mango, orange=orange)
            for region, (mango, orange) in zip(regions, tons.tolist(), strict=True)
        ]

    return app
