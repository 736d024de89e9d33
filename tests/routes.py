"""The calls of the service, and which of them change something: what a proxy before several replicas has to know."""

import functools

from app.main import create_app
from app.settings import Settings

PAGES = ("/", "/docs", "/page/main.js", "/openapi.json")
"""What is read by people, and stands in no document."""
FROM_WRITER = {"/access", "/models", "/models/live", "/models/log", "/models/version", "/models/version/residuals"}
FROM_WRITER |= {"/observations", "/observations/batches", "/forecasts", "/forecasts/batches"}
"""What is read where it is written, so that who has changed something sees it changed at once."""


@functools.cache
def calls() -> dict[tuple[str, str], bool]:
    """Return whether it goes to the writer, for each method and path of the service; names stand for parts of paths."""
    paths = create_app(Settings()).openapi()["paths"]
    found = {("GET", path): False for path in PAGES}
    for path, methods in paths.items():
        plain = path.replace("{", "").replace("}", "")
        for method, call in methods.items():
            writes = method != "get" and bool(call.get("security"))
            found[method.upper(), plain] = writes or (method == "get" and plain in FROM_WRITER)
    return found
