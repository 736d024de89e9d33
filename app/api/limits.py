"""How much may stand around a request's body: headers, path and query."""

from starlette.types import Scope

from app.errors import HeadersTooLarge, InputError, TargetTooLong

MOST_HEADERS = 100
"""Headers of a request."""
MOST_HEADER_BYTES = 64 * 1024
"""Bytes of all headers' names and values."""
MOST_TARGET_BYTES = 8 * 1024
"""Bytes of a path, and of a query."""


def refusal(scope: Scope) -> InputError | None:
    """Return what is too much around a request's body, before anything looks for a meaning in it."""
    headers = scope["headers"]
    if len(headers) > MOST_HEADERS:
        return HeadersTooLarge(f"{len(headers)} headers: the limit is {MOST_HEADERS}, send fewer")
    if (size := sum(len(name) + len(value) for name, value in headers)) > MOST_HEADER_BYTES:
        return HeadersTooLarge(f"headers of {size} bytes: the limit is {MOST_HEADER_BYTES}, send fewer or shorter ones")
    for what, given in (("path", scope.get("raw_path") or b""), ("query", scope["query_string"])):
        if len(given) > MOST_TARGET_BYTES:
            return TargetTooLong(
                f"a {what} of {len(given)} bytes: the limit is {MOST_TARGET_BYTES}, send a shorter one"
            )
    return None
