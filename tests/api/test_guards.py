"""Who is let through to write and to read, as calls depend on it."""

import asyncio
import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import pytest
from fastapi.security import HTTPAuthorizationCredentials
from pydantic import SecretStr
from starlette.requests import Request

from app.api.guards import BEARER, require_reader, require_writer
from app.api.services import Services
from app.api.tokens import ATTEMPTS, Tokens, WrongTokens
from app.errors import TooManyAttempts, Unauthorized
from app.settings import Settings

WRITES, READS = "a-token-for-writing", "a-token-for-reading"
Guard = Callable[[Request, Services, HTTPAuthorizationCredentials | None], str | None]
both = pytest.mark.parametrize("guard", [require_writer, require_reader])


@pytest.fixture
def services() -> Services:
    """Return what the guards use of the services, with a token for writing and one for reading."""
    settings = Settings(token=SecretStr(WRITES), read_token=SecretStr(READS))
    return cast("Services", SimpleNamespace(tokens=Tokens(settings), wrong_tokens=WrongTokens()))


def _from(address: str | None) -> Request:
    return Request({"type": "http", "headers": [], "client": address and (address, 50_000)})


def _bearer(token: str) -> HTTPAuthorizationCredentials:
    return HTTPAuthorizationCredentials(scheme="Bearer", credentials=token)


def _use_up(services: Services, address: str | None, guard: Guard = require_writer) -> None:
    for _ in range(ATTEMPTS):
        with pytest.raises(Unauthorized):
            guard(_from(address), services, _bearer("wrong"))


def test_a_token_for_writing_does_both(services: Services) -> None:
    """It says who writes, and it reads too."""
    request = _from("192.0.2.1")
    assert require_writer(request, services, _bearer(WRITES)) == "token"
    require_reader(request, services, _bearer(WRITES))


def test_a_token_for_reading_does_not_write(services: Services) -> None:
    """There it is a wrong one like any other."""
    request = _from("192.0.2.1")
    require_reader(request, services, _bearer(READS))
    with pytest.raises(Unauthorized, match="the token is wrong"):
        require_writer(request, services, _bearer(READS))


@both
@pytest.mark.parametrize("token", ["", WRITES[:-1], WRITES + " ", READS.upper(), f"{WRITES} {READS}", "ü"])
def test_a_wrong_token_is_refused(services: Services, guard: Guard, token: str) -> None:
    """Also one that is almost right."""
    with pytest.raises(Unauthorized, match="the token is wrong"):
        guard(_from("192.0.2.1"), services, _bearer(token))


@both
def test_no_token_is_no_attempt(services: Services, guard: Guard, caplog: pytest.LogCaptureFixture) -> None:
    """Who gives none is told how, as often as it asks."""
    with caplog.at_level(logging.WARNING, "orchard"):
        for _ in range(ATTEMPTS + 1):
            with pytest.raises(Unauthorized, match="needs the header Authorization: Bearer <token>"):
                guard(_from("192.0.2.1"), services, None)
    assert caplog.records == []


@both
def test_guessing_is_counted_together(services: Services, guard: Guard) -> None:
    """For reading and for writing, and for each address apart; a right token passes all the same."""
    _use_up(services, "192.0.2.1", guard)
    for other in (require_writer, require_reader):
        with pytest.raises(TooManyAttempts):
            other(_from("192.0.2.1"), services, _bearer("wrong"))
        with pytest.raises(Unauthorized):
            other(_from("192.0.2.2"), services, _bearer("wrong"))
    assert require_writer(_from("192.0.2.1"), services, _bearer(WRITES)) == "token"
    require_reader(_from("192.0.2.1"), services, _bearer(READS))


def test_who_has_no_address_is_counted_too(services: Services) -> None:
    """As over a socket of the file system: all of them as one."""
    _use_up(services, None)
    with pytest.raises(TooManyAttempts):
        require_writer(_from(None), services, _bearer("wrong"))


@pytest.mark.parametrize(
    ("header", "token"),
    [
        (f"Bearer {WRITES}", WRITES),
        (f"bEARER   {WRITES}", WRITES),
        (f"Bearer {WRITES} {READS}", f"{WRITES} {READS}"),
        ("", None),
        ("Bearer", None),
        ("Bearer ", None),
        (WRITES, None),
        (f"Basic {WRITES}", None),
        (f"Bearer\t{WRITES}", None),
        (f"Bearer:{WRITES}", None),
    ],
)
def test_which_headers_hold_a_token(header: str, token: str | None) -> None:
    """All that stands behind the word Bearer, in any case of letters; nothing of other schemes."""
    request = Request({"type": "http", "headers": [(b"authorization", header.encode())]})
    found = asyncio.run(BEARER(request))
    assert (found and found.credentials) == token
