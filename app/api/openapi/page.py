"""GET /docs and /openapi.json: the document, and a page to read and try it that asks no other host.

Where reading is closed the document needs a token too: it tells what can be asked here. The page does not: its files
are the same in every installation, and it is where a person is asked for the token.
"""

from functools import cache
from importlib.resources import files
from typing import Literal

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from app.api import headers
from app.api.address import prefix_of
from app.api.represented import Represented

router = APIRouter(prefix="/docs", include_in_schema=False, route_class=Represented)
document = APIRouter(include_in_schema=False, route_class=Represented)

PAGE = """<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>Orchard</title>
    <link rel="icon" href="data:,">
    <link rel="stylesheet" href="docs/swagger-ui.css">
  </head>
  <body>
    <div id="page"></div>
    <script src="docs/swagger-ui-bundle.js"></script>
    <script src="docs/start.js"></script>
  </body>
</html>
"""
START = """async function start() {
  let token = "";
  let answer = await fetch("openapi.json");
  while (answer.status === 401 || answer.status === 429) {
    token = (window.prompt("Reading needs a token here. Yours:") || "").trim();
    if (!token) return;
    answer = await fetch("openapi.json", { headers: { Authorization: `Bearer ${token}` } });
  }
  const spec = await answer.json();
  // Behind a proxy the page knows where it is, whatever prefix that has.
  const here = new URL(".", window.location.href).pathname.slice(0, -1);
  if (here) spec.servers = [{ url: here }];
  const page = SwaggerUIBundle({
    spec,
    dom_id: "#page",
    deepLinking: true,
    displayRequestDuration: true,
    tryItOutEnabled: true,
    persistAuthorization: false,
    validatorUrl: null,
    onComplete: () => token && page.preauthorizeApiKey("HTTPBearer", token),
  });
}
start();
"""
"""A file of its own, since the page's policy allows no script in it; ``validatorUrl``: no other host is asked."""
TYPES = {"css": "text/css", "js": "text/javascript"}

Asset = Literal["swagger-ui.css", "swagger-ui-bundle.js"]


@document.api_route("/openapi.json", methods=["GET", "HEAD"])
async def openapi(request: Request) -> Response:
    """Return the OpenAPI document, with the server where who asks finds the calls."""
    below = prefix_of(request)
    return JSONResponse(request.app.openapi() | ({"servers": [{"url": below}]} if below else {}))


@router.get("")
async def page() -> Response:
    """Return the page."""
    return Response(PAGE, headers=headers.PAGE, media_type="text/html")


@router.get("/")
async def slashed() -> Response:
    """Lead to the page, whose links begin where its path ends; relatively, since nobody vouches for the Host header."""
    return RedirectResponse("../docs", headers=headers.PAGE)


@router.get("/start.js")
async def start() -> Response:
    """Return the script that fills the page."""
    return Response(START, headers=headers.PAGE, media_type=TYPES["js"])


@router.get("/{name}")
def asset(name: Asset) -> Response:
    """Return a file of Swagger UI."""
    return Response(_content(name), headers=headers.PAGE, media_type=TYPES[name.rpartition(".")[2]])


@cache
def _content(name: Asset) -> bytes:
    """Read a file that fastapi-swagger brings along: it follows Swagger UI's releases."""
    return (files("fastapi_swagger") / "resources" / name).read_bytes()
