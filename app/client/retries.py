"""How often a call is made, and how long to wait in between. Makes no call and does not wait itself.

A 503 means that nothing was done: any call may be repeated. So may one whose connection was never made. Where the
connection broke, or a 503 says that something may have been done (`unconfirmed`), only what is the same when it is done
twice is repeated: reading, predicting, withdrawing, and writes with an idempotency key.
"""

import secrets

import httpx

from app.client.errors import ClientError, Unavailable, Unreachable, problem

FIRST_WAIT_S = 0.25
"""Doubled with each attempt."""
LONGEST_WAIT_S = 15.0
"""A caller who would have to wait longer gets the error, which says for how long."""
RUNNING, UNCONFIRMED = "retrain_running", "unconfirmed"
NOTHING_DONE = 503
"""Behind a 502 or a 504 of a proxy the call may have been carried out."""

_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_RANDOM = secrets.SystemRandom()


class Retries:
    """The attempts at one call; ``patience_s``: how long it may be waited for where it is known to be at work."""

    def __init__(self, retries: int, *, is_repeatable: bool, patience_s: float = 0.0) -> None:
        self._left = retries
        self._is_repeatable = is_repeatable
        self._patience_s = patience_s
        self._wait = FIRST_WAIT_S
        self._is_maybe_done = False

    def wait_after(self, outcome: httpx.Response | httpx.RequestError) -> float:
        """Return the seconds to wait before the next attempt.

        Raises:
            Problem, Unreachable: there is to be none.
        """
        error = problem(outcome) if isinstance(outcome, httpx.Response) else _unreachable(outcome)
        # Chance keeps the clients that were turned away together from coming back together.
        wait = (error.retry_after or 0.0) + self._wait * _RANDOM.uniform(0.5, 1.0)
        if error.code == RUNNING and self._is_maybe_done and self._patience_s > 0.0:
            # After a broken connection the retrain that is running may well be ours: its key finds the answer.
            self._patience_s -= wait
            return wait
        may_help = self._of_answer(error) if isinstance(outcome, httpx.Response) else self._of_failure(outcome)
        if not self._left or not may_help:
            raise error
        self._left -= 1
        self._wait *= 2.0
        return wait

    def _of_answer(self, error: ClientError) -> bool:
        if not isinstance(error, Unavailable) or (error.retry_after or 0.0) > LONGEST_WAIT_S:
            return False
        if error.status != NOTHING_DONE or error.code == UNCONFIRMED:
            self._is_maybe_done = True
            return self._is_repeatable
        # Orchard says with Retry-After which of its 503s will pass; a proxy does not say.
        return error.retry_after is not None or error.code == "http_error"

    def _of_failure(self, failure: httpx.RequestError) -> bool:
        if isinstance(failure, _NOT_SENT):
            return True
        self._is_maybe_done = True
        return self._is_repeatable and isinstance(failure, httpx.NetworkError | httpx.RemoteProtocolError)


def _unreachable(error: httpx.RequestError) -> Unreachable:
    where = f"{error.request.url.scheme}://{error.request.url.netloc.decode()}"
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return Unreachable(f"no service can be reached at {where}: {str(error) or 'no connection in time'}")
    if isinstance(error, httpx.TimeoutException):
        return Unreachable(f"the service at {where} has not answered in time")
    return Unreachable(f"the connection to {where} broke: {str(error) or type(error).__name__}")
