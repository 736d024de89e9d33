"""How often a call is made, and how long to wait in between. Makes no call and does not wait itself.

A 503 means that nothing was done: any call may be repeated. So may one whose connection was never made. Where the
connection broke, only what is the same when it is done twice is repeated: reading, predicting, withdrawing, and writes
with an idempotency key.
"""

import secrets

import httpx

from app.client.errors import ClientError, Unavailable, Unreachable, problem

FIRST_WAIT_S = 0.25
"""Doubled with each attempt."""
LONGEST_WAIT_S = 15.0
"""Whoever is asked to wait for longer gets the error, which says for how long."""
RUNNING = "retrain_running"
NOTHING_DONE = 503
"""Behind a 502 or a 504 of a proxy the call may have been carried out."""

_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_RANDOM = secrets.SystemRandom()


class Attempts:
    """The attempts at one call."""

    def __init__(self, retries: int, *, is_repeatable: bool) -> None:
        self._left = retries
        self._is_repeatable = is_repeatable
        self._wait = FIRST_WAIT_S
        self._is_maybe_done = False

    def wait_after(self, outcome: httpx.Response | httpx.TransportError) -> float:
        """Return the seconds to wait before the next attempt.

        Raises:
            Problem, Unreachable: there is to be none.
        """
        error = _unreachable(outcome) if isinstance(outcome, httpx.TransportError) else problem(outcome)
        if not self._left or not self._may_help(outcome, error):
            raise error
        self._left -= 1
        asked = error.retry_after
        if asked is not None and asked > LONGEST_WAIT_S:
            raise error
        # Chance keeps the clients that were turned away together from coming back together.
        wait = (asked or 0.0) + self._wait * _RANDOM.uniform(0.5, 1.0)
        self._wait = min(2.0 * self._wait, LONGEST_WAIT_S)
        return wait

    def _may_help(self, outcome: httpx.Response | httpx.TransportError, error: ClientError) -> bool:
        if isinstance(outcome, httpx.Response):
            if error.code == RUNNING:
                # After a broken connection the retrain that is running may well be ours: its key finds the answer.
                return self._is_maybe_done
            if not isinstance(error, Unavailable) or not (error.status == NOTHING_DONE or self._is_repeatable):
                return False
            # Orchard says with Retry-After which of its 503s will pass; a proxy does not say.
            return error.retry_after is not None or error.code == "http_error"
        if isinstance(outcome, _NOT_SENT):
            return True
        self._is_maybe_done = True
        return self._is_repeatable and not isinstance(outcome, httpx.TimeoutException)


def _unreachable(error: httpx.TransportError) -> Unreachable:
    where = f"{error.request.url.scheme}://{error.request.url.netloc.decode()}"
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return Unreachable(f"no service can be reached at {where}: {str(error) or 'no connection in time'}")
    if isinstance(error, httpx.TimeoutException):
        return Unreachable(f"the service at {where} has not answered in time")
    return Unreachable(f"the connection to {where} broke: {str(error) or type(error).__name__}")
