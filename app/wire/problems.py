"""Errors as RFC 9457 problems: one table gives each error class its status, code and title."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from app import errors
from app.errors import FieldError, OrchardError


@dataclass(frozen=True, slots=True)
class Kind:
    """What an error class is over HTTP."""

    status: int
    code: str
    title: str
    headers: tuple[tuple[str, str], ...] = ()


KINDS: dict[type[OrchardError], Kind] = {
    errors.InputError: Kind(400, "bad_request", "The request cannot be answered"),
    errors.MalformedInput: Kind(400, "malformed", "The body cannot be read"),
    errors.Unauthorized: Kind(401, "unauthorized", "A valid token is needed", (("WWW-Authenticate", "Bearer"),)),
    errors.NotFound: Kind(404, "not_found", "Not found"),
    errors.NotAcceptable: Kind(406, "not_acceptable", "No acceptable content type"),
    errors.BodyTimeout: Kind(408, "body_timeout", "The body did not arrive in time", (("Connection", "close"),)),
    errors.Conflict: Kind(409, "conflict", "The request conflicts with another one"),
    errors.RetrainRunning: Kind(409, "retrain_running", "A retrain is running", (("Retry-After", "1"),)),
    errors.IdTaken: Kind(409, "id_taken", "A forecast has this id already"),
    errors.KeyReused: Kind(409, "key_reused", "The idempotency key was used for another request"),
    errors.KeyTaken: Kind(409, "key_taken", "A call with this idempotency key is running", (("Retry-After", "1"),)),
    errors.TooLarge: Kind(413, "too_large", "The body is too large", (("Connection", "close"),)),
    errors.TargetTooLong: Kind(414, "target_too_long", "The path or the query is too long"),
    errors.UnknownMediaType: Kind(415, "unknown_media_type", "The content type is not understood"),
    errors.Misdirected: Kind(421, "misdirected", "The request is for another host"),
    errors.InvalidInput: Kind(422, "invalid", "The input is invalid"),
    errors.TooFewRows: Kind(422, "too_few_rows", "There are too few rows to fit"),
    errors.Diverged: Kind(422, "diverged", "Descent diverged"),
    errors.TooManyAttempts: Kind(429, "too_many_attempts", "Too many wrong tokens", (("Retry-After", "60"),)),
    errors.HeadersTooLarge: Kind(431, "headers_too_large", "The headers are too large", (("Connection", "close"),)),
    errors.OrchardError: Kind(500, "internal", "Something went wrong"),
    errors.ServiceError: Kind(503, "unavailable", "The service is not available"),
    errors.Overloaded: Kind(503, "overloaded", "Too many requests at once", (("Retry-After", "1"),)),
    errors.NotReady: Kind(503, "not_ready", "No model is live", (("Retry-After", "5"),)),
    errors.StoreDamaged: Kind(503, "store_damaged", "A stored file is damaged"),
    errors.StoreTooNew: Kind(503, "store_too_new", "The store was written by a newer version"),
    errors.Unconfirmed: Kind(503, "unconfirmed", "It is not certain whether this was done", (("Retry-After", "5"),)),
    errors.StoreUnavailable: Kind(503, "store_unavailable", "The store is not available", (("Retry-After", "5"),)),
    errors.TrainingUnavailable: Kind(503, "training_unavailable", "This installation cannot train"),
    errors.TrainingFailed: Kind(503, "training_failed", "Training failed", (("Retry-After", "5"),)),
    errors.HelperFailed: Kind(503, "answering_failed", "A large question was not answered"),
}


def kind_of(error: OrchardError) -> Kind:
    """Return the table's entry for an error's class, or for the nearest class above it."""
    return next(KINDS[kind] for kind in type(error).__mro__ if kind in KINDS)


class FieldProblem(BaseModel):
    """One fault of one value: where, what, and a stable word."""

    model_config = ConfigDict(extra="forbid")

    loc: list[str | int]
    message: str
    code: str


class Problem(BaseModel):
    """An RFC 9457 problem. ``errors`` is there for invalid input only."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[FieldProblem] | None = None


def body(error: OrchardError) -> dict[str, Any]:
    """Return the problem for an error that no request has met with."""
    return problem(kind_of(error), error.detail, error.errors)


def problem(kind: Kind, detail: str, faults: Iterable[FieldError] = (), request_id: str = "") -> dict[str, Any]:
    """Return a problem as JSON has it."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "code": kind.code,
        "request_id": request_id,
    }
    listed = [fault.as_dict() for fault in faults]
    return body | {"errors": listed} if listed else body
