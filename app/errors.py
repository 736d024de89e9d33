"""Every error that Orchard raises on purpose. Plain Python: nothing here knows HTTP.

OrchardError
├── InputError                  you gave something wrong
│   ├── MalformedInput            not readable as what it claims to be; NaN or infinity in a number
│   ├── InvalidInput              readable, but a field is missing, unknown, of the wrong type or out of bounds
│   │   ├── TooFewRows              not enough rows to fit any crop
│   │   └── Diverged                descent left the finite numbers: the learning rate is too large
│   ├── TooLarge                  more bytes or rows than the limit
│   ├── UnknownMediaType          a content type that is not understood
│   ├── NotAcceptable             no content type that the client accepts
│   ├── BodyTimeout               the body did not arrive in time
│   ├── Misdirected               a request for a host that this service is not
│   ├── HeadersTooLarge           more headers, or more bytes of them, than the limit
│   ├── TargetTooLong             a path or a query of more bytes than the limit
│   ├── Unauthorized              a write without a token, or with a wrong one
│   ├── TooManyAttempts           too many wrong tokens from one address
│   └── NotFound                  no such version, batch or path
├── Conflict                    not now, or not with what is already there
│   ├── RetrainRunning            another retrain holds the lock
│   ├── IdTaken                   a forecast has this id already
│   ├── KeyReused                 the idempotency key was used for another body
│   └── KeyTaken                  another call with this idempotency key is just being carried out
└── ServiceError                what Orchard needs has failed
    ├── Overloaded                more requests at once than the limit
    ├── NotReady                  no model is live
    ├── StoreDamaged              a stored file is not what was written
    ├── StoreTooNew               what is stored was written by a newer version of Orchard
    ├── StoreUnavailable          the store or the database cannot be written or read; nothing was done
    ├── Unconfirmed               a write may have been done, or is done and not yet in force
    ├── TrainingUnavailable       torch is not installed here
    ├── TrainingFailed            the training process died
    └── HelperFailed              the process that works on large bodies died
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class FieldError:
    """One fault of one value: where it is, what is wrong with it, and a stable word for it."""

    loc: tuple[str | int, ...]
    message: str
    code: str

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {"loc": list(self.loc), "message": self.message, "code": self.code}


class OrchardError(Exception):
    """The root of the tree. ``errors`` lists the single faults where there are several."""

    def __init__(self, detail: str, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)

    def as_dict(self) -> dict[str, Any]:
        """Return what another process needs to raise it again, by `from_dict`."""
        return {
            "kind": type(self).__name__,
            "detail": self.detail,
            "errors": [fault.as_dict() for fault in self.errors],
        }

    @staticmethod
    def from_dict(described: Mapping[str, Any]) -> "OrchardError":
        """Return the error that another process has described."""
        faults = [FieldError(tuple(fault["loc"]), fault["message"], fault["code"]) for fault in described["errors"]]
        return subclasses()[described["kind"]](described["detail"], faults)


class InputError(OrchardError):
    """You gave something wrong."""


class MalformedInput(InputError):
    """Not readable as what it claims to be, or NaN or infinity in a number."""


class InvalidInput(InputError):
    """Readable, but a field is missing, unknown, of the wrong type or out of bounds."""


class TooFewRows(InvalidInput):
    """Not enough rows to fit any crop."""


class Diverged(InvalidInput):
    """Descent left the finite numbers: the learning rate is too large."""


class TooLarge(InputError):
    """More bytes or rows than the limit."""


class UnknownMediaType(InputError):
    """A content type that is not understood."""


class NotAcceptable(InputError):
    """No content type that the client accepts."""


class BodyTimeout(InputError):
    """The body did not arrive in time."""


class Misdirected(InputError):
    """A request for a host that this service is not."""


class HeadersTooLarge(InputError):
    """More headers, or more bytes of them, than the limit."""


class TargetTooLong(InputError):
    """A path or a query of more bytes than the limit."""


class TooManyAttempts(InputError):
    """Too many wrong tokens from one address."""


class Unauthorized(InputError):
    """A write without a token, or with a wrong one."""


class NotFound(InputError):
    """No such version, batch or path."""


class Conflict(OrchardError):
    """Not now, or not with what is already there."""


class RetrainRunning(Conflict):
    """Another retrain holds the lock."""


class IdTaken(Conflict):
    """A forecast has this id already."""


class KeyReused(Conflict):
    """The idempotency key was used for another body."""


class KeyTaken(Conflict):
    """Another call with this idempotency key is just being carried out."""


class ServiceError(OrchardError):
    """What Orchard needs has failed."""


class Overloaded(ServiceError):
    """More requests at once than the limit."""


class NotReady(ServiceError):
    """No model is live."""


class StoreDamaged(ServiceError):
    """A stored file is not what was written."""


class StoreTooNew(ServiceError):
    """What is stored was written by a newer version of Orchard."""


class StoreUnavailable(ServiceError):
    """The store or the database cannot be written or read; nothing was done."""


class Unconfirmed(ServiceError):
    """A write may have been done, or is done and not yet in force."""


class TrainingUnavailable(ServiceError):
    """Torch is not installed here."""


class TrainingFailed(ServiceError):
    """The training process died."""


class HelperFailed(ServiceError):
    """The process that works on large bodies died."""


def subclasses(root: type[OrchardError] = OrchardError) -> dict[str, type[OrchardError]]:
    """Return every class of the tree by its name."""
    found = {root.__name__: root}
    for child in root.__subclasses__():
        found |= subclasses(child)
    return found
