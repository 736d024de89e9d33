"""Who may write, and who may read: what a call depends on that needs a token."""

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from app.api.services import ServicesDep
from app.errors import Unauthorized

BEARER = HTTPBearer(auto_error=False, description="A token from the model store's file `token`, or ORCHARD_TOKEN.")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]


def require_writer(request: Request, services: ServicesDep, credentials: Credentials) -> str:
    """Let a write through only with a right token; return who writes.

    Raises:
        Unauthorized: no token, or a wrong one.
        TooManyAttempts: a wrong one, after too many from this address.
    """
    who = services.tokens.writer(_given(credentials))
    if who is None:
        services.wrong_tokens.refuse(_address(request))
    return who


def require_reader(request: Request, services: ServicesDep, credentials: Credentials) -> None:
    """Let a call through only with ORCHARD_READ_TOKEN, or with a token for writing.

    Of all calls where that setting closes reading; else only of those that return what regions reported.

    Raises:
        Unauthorized, TooManyAttempts: as `require_writer`.
    """
    if not services.tokens.may_read(_given(credentials)):
        services.wrong_tokens.refuse(_address(request))


def _address(request: Request) -> str:
    return request.client.host if request.client is not None else ""


def _given(credentials: HTTPAuthorizationCredentials | None) -> str:
    if credentials is None:
        raise Unauthorized("this call needs the header Authorization: Bearer <token>")
    return credentials.credentials


Writer = Annotated[str, Depends(require_writer)]
