"""Every error that a call to a running service ends in.

ClientError
├── Problem           the service has answered with a problem (RFC 9457)
│   ├── Rejected        4xx: what was sent is wrong, or the token is
│   ├── Conflict        409: not now, or not with what is already there
│   └── Unavailable     502, 503, 504: the service cannot answer at this moment
├── Unreachable       there was no whole answer
└── Unreadable        there was an answer, and it is not one of Orchard's
"""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx
from pydantic import BaseModel, ValidationError

from app.errors import FieldError


class ClientError(Exception):
    """The root of the tree.

    ``detail`` says what happened, ``code`` is the stable word to decide by. What else a problem has is there for all:
    ``status`` (None without an answer), ``title``, ``errors`` (the single faults of invalid input), ``request_id``
    (finds the call in the service's log), ``retry_after`` (seconds, None where the service does not ask to be called
    again).
    """

    status: int | None = None
    code = "client"
    title = "The call has failed"
    request_id = ""
    errors: tuple[FieldError, ...] = ()
    retry_after: float | None = None

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Unreachable(ClientError):
    """There was no whole answer: no connection, a broken one, or none in time."""

    code = "unreachable"
    title = "The service cannot be reached"


class Unreadable(ClientError):
    """There was an answer, and it is not one of Orchard's."""

    code = "unreadable"
    title = "The answer is not Orchard's"


class _Fault(BaseModel):
    loc: tuple[str | int, ...]
    message: str
    code: str


class _Body(BaseModel):
    """A problem's body, as far as an error needs it."""

    status: int
    code: str
    title: str
    detail: str
    request_id: str = ""
    errors: list[_Fault] = []


class Problem(ClientError):
    """The service has answered with a problem."""

    def __init__(self, body: _Body, retry_after: float | None) -> None:
        super().__init__(body.detail)
        self.status = body.status
        self.code = body.code
        self.title = body.title
        self.request_id = body.request_id
        self.errors = tuple(FieldError(fault.loc, fault.message, fault.code) for fault in body.errors)
        self.retry_after = retry_after


class Rejected(Problem):
    """4xx: what was sent is wrong, or the token is."""


class Conflict(Problem):
    """409: a retrain is running, or the idempotency key was used for another request."""

    @property
    def advice(self) -> str:
        """What to do about it, in words."""
        if self.code == KEY_REUSED:
            return "choose another key for another request, or repeat the first one under this key"
        return "ask again in a moment" if self.retry_after is None else f"ask again in {self.retry_after:g} s"


class Unavailable(Problem):
    """502, 503, 504: no model yet, too many requests at once, a store that cannot be written."""


KEY_REUSED = "key_reused"
UNAVAILABLE = (502, 503, 504)
_CONFLICT, _BAD_REQUEST, _SERVER_ERROR = 409, 400, 500


def problem(response: httpx.Response) -> Problem:
    """Return the error that an answer stands for: a problem's fields, or what a proxy has said in its own words."""
    try:
        body = _Body.model_validate_json(response.content)
    except ValidationError:
        said = response.text.strip()[:200]
        detail = f"{response.status_code} {response.reason_phrase}" + (f": {said}" if said else "")
        body = _Body(status=response.status_code, code="http_error", title=response.reason_phrase, detail=detail)
    return _family(body.status)(body, retry_after(response))


def problem_of_event(data: str) -> Problem:
    """Return the error that a stream of events has ended in.

    Raises:
        Unreadable: it is not a problem.
    """
    try:
        body = _Body.model_validate_json(data)
    except ValidationError as error:
        raise Unreadable("the event stream has ended in something that is not a problem") from error
    return _family(body.status)(body, None)


def _family(status: int) -> type[Problem]:
    if status == _CONFLICT:
        return Conflict
    if _BAD_REQUEST <= status < _SERVER_ERROR:
        return Rejected
    return Unavailable if status in UNAVAILABLE else Problem


def retry_after(response: httpx.Response) -> float | None:
    """Return the header Retry-After in seconds, given as such or as a date (RFC 9110, 10.2.3)."""
    given = response.headers.get("retry-after", "").strip()
    if given.isascii() and given.isdigit():
        return float(given)
    try:
        return max(0.0, (parsedate_to_datetime(given) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):  # no date, or one without a time zone
        return None
