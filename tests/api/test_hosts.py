"""Which names the service goes by, and what pages of other origins may not send."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message, Receive, Scope, Send

from app.api.hosts import LONGEST, REMEMBERED, HostCheck, Hosts
from app.settings import Settings

ANYWHERE = "0.0.0.0"  # noqa: S104 - nothing listens


def _hosts(**settings: Any) -> Hosts:
    return Hosts(Settings.model_validate(settings))


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"localhost",
        b"LocalHost:8000",
        b"localhost.",
        b"localhost.:8000",
        b"localhost:",
        b" localhost ",
        b"127.0.0.1",
        b"127.0.0.1.:80",
        b"192.0.2.7:65536",
        b"[::1]",
        b"[::1]:8000",
        b"[2001:DB8::7]:",
        b"[::ffff:127.0.0.1]",
        b"farm.example",
        b"FARM.example.:8000",
        b"my_farm",
    ],
)
def test_names_that_are_ours(value: bytes) -> None:
    """Addresses, localhost and what is named, with a port or a last dot, in any case of letters; and no name at all."""
    hosts = _hosts(hosts="Farm.example., my_farm")
    assert [hosts.admits(value) for _ in range(2)] == [True, True]


@pytest.mark.parametrize(
    "value",
    [
        b"evil.example",
        b"evil.example:8000",
        b"localhost.evil.example",
        b"a.localhost",
        b"a.farm.example",
        b"farm.example.evil.example",
        b"farm.exampl",
        b"*",
        b"localhost..",
        b"localhost:http",
        b"localhost:80:80",
        b"localhost:8\xb2",
        b"localhost,evil.example",
        b"localhost@evil.example",
        b"evil.example/localhost",
        b"local host",
        b"l\xf6calhost",
        b"127.0.0.1.evil.example",
        b"127.1",
        b"0x7f000001",
        b"2130706433",
        b"127.0.0.256",
        b"127.0.0.01",
        b"::1",
        b"[::1",
        b"::1]",
        b"[::1]]",
        b"[::1]8000",
        b"[::1]evil.example",
        b"evil.example[::1]",
        b"[]",
        b"[evil.example]",
        b"[localhost]",
    ],
)
def test_names_that_are_not(value: bytes) -> None:
    """What only looks like ours, or like an address, is another's; asking again does not help."""
    hosts = _hosts(hosts="farm.example")
    assert [hosts.admits(value) for _ in range(2)] == [False, False]
    assert hosts.accepted == set()


@pytest.mark.parametrize(
    ("settings", "is_any_admitted"),
    [
        ({}, False),
        ({"host": "127.9.9.9"}, False),
        ({"host": "::1"}, False),
        ({"host": "LOCALHOST"}, False),
        ({"host": ANYWHERE}, True),
        ({"host": "::"}, True),
        ({"host": "192.0.2.7"}, True),
        ({"host": "farm.example"}, True),
        ({"host": ANYWHERE, "hosts": "farm.example"}, False),
        ({"host": ANYWHERE, "hosts": "localhost"}, False),
        ({"host": ANYWHERE, "hosts": ""}, True),
        ({"hosts": "*"}, True),
        ({"host": ANYWHERE, "hosts": "farm.example, *"}, True),
    ],
)
def test_when_any_name_is_ours(settings: dict[str, str], is_any_admitted: bool) -> None:
    """Beyond a loopback address unless some are named, and with *; localhost and addresses are in any case."""
    hosts = _hosts(**settings)
    assert all(hosts.admits(value) for value in (b"localhost:1", b"192.0.2.1", b""))
    assert [hosts.admits(value) for value in (b"evil.example", b"no:host:at all")] == [is_any_admitted] * 2


@given(st.ip_addresses(), st.integers(0, 65_535))
def test_every_address_is_ours(address: object, port: int) -> None:
    """Of IPv4 and, in brackets, of IPv6: none can be made to lead here."""
    shown = f"[{address}]" if ":" in str(address) else str(address)
    assert _hosts().admits(f"{shown}:{port}".encode())


def test_few_and_short_ones_are_remembered() -> None:
    """Beyond as many as are kept it begins anew; a longer one is admitted and not kept."""
    hosts = _hosts(host=ANYWHERE)
    values = [b"%d.example" % number for number in range(REMEMBERED)]
    assert all(map(hosts.admits, values))
    assert hosts.admits(values[0])
    assert hosts.accepted == set(values)
    longest = b"a" * LONGEST
    assert hosts.admits(longest)
    assert hosts.admits(longest + b"a")
    assert hosts.accepted == {longest}


def _ask(settings: Settings, *headers: tuple[str, str], method: str = "POST", kind: str = "http") -> tuple[int, str]:
    """Return the status and the detail of what a request is answered; 200 of what is passed on."""
    sent: list[Any] = []

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b'{"detail": ""}'})

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    services = SimpleNamespace(hosts=Hosts(settings), settings=settings)
    state = SimpleNamespace(services=services, problem_forms={})
    scope: Scope = {
        "type": kind,
        "method": method,
        "path": "/predict",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
        "app": SimpleNamespace(state=state),
    }
    asyncio.run(HostCheck(app)(scope, receive, send))
    return sent[0]["status"], json.loads(sent[1]["body"])["detail"]


LOCAL, EVIL = ("host", "localhost:8000"), ("host", "evil.example")
TYPED, ELSEWHERE = ("content-type", "application/json"), ("origin", "https://elsewhere.example")


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [([TYPED], 200), ([TYPED, LOCAL], 200), ([TYPED, EVIL], 421), ([LOCAL, TYPED, EVIL], 421), ([EVIL, LOCAL], 421)],
)
def test_requests_for_another_host_are_turned_away(headers: list[tuple[str, str]], status: int, method: str) -> None:
    """Whatever they ask, also if they name ours beside it; one that names none is answered."""
    found, detail = _ask(Settings(), *headers, method=method)
    assert found == status
    assert ("does not answer for the host 'evil.example'" in detail) is (status == 421)


def test_a_long_host_is_cut_in_the_refusal() -> None:
    """To a hundred characters, of any bytes."""
    _, detail = _ask(Settings(), ("host", "ÿ" * 101))
    assert f"the host '{'ÿ' * 100}': ask" in detail


def test_what_is_no_request_is_passed_on() -> None:
    """As the start of the service is."""
    assert _ask(Settings(), EVIL, kind="lifespan") == (200, "")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([LOCAL], 200),
        ([LOCAL, ("origin", "http://localhost:8000")], 200),
        ([LOCAL, ("origin", "HTTP://LOCALHOST:8000")], 200),
        ([("host", "LOCALHOST"), ("origin", "http://localhost")], 200),
        ([("host", "[::1]:8000"), ("origin", "http://[::1]:8000")], 200),
        ([LOCAL, ("origin", "http://localhost")], 415),
        ([LOCAL, ("origin", "http://localhost:80001")], 415),
        ([LOCAL, ("origin", "localhost:8000")], 415),
        ([LOCAL, ("origin", "null")], 415),
        ([LOCAL, ("origin", "")], 415),
        ([("host", ""), ("origin", "http://")], 415),
        ([("origin", "http://localhost")], 415),
        ([LOCAL, ELSEWHERE], 415),
        ([LOCAL, ("origin", "http://localhost:8000"), ELSEWHERE], 415),
        ([LOCAL, ELSEWHERE, ("content-type", "")], 415),
        ([LOCAL, ELSEWHERE, ("content-type", " ")], 415),
        ([LOCAL, ELSEWHERE, TYPED], 200),
        ([LOCAL, ELSEWHERE, ("content-type", "text/plain")], 200),
    ],
)
def test_a_body_without_a_type_comes_from_our_own_pages(headers: list[tuple[str, str]], status: int) -> None:
    """Or from a program, which names no origin; with a type it is passed on, as other methods are."""
    found, detail = _ask(Settings(), *headers)
    assert (found, "has to name its body's type" in detail) == (status, status == 415)
    assert _ask(Settings(), *headers, method="GET") == (200, "")


@pytest.mark.parametrize(
    ("named", "origin", "status"),
    [
        ("https://elsewhere.example", "https://elsewhere.example", 200),
        ("https://elsewhere.example", "HTTPS://Elsewhere.example", 200),
        ("https://a.example, https://elsewhere.example", "https://elsewhere.example", 200),
        ("https://elsewhere.example", "http://elsewhere.example", 415),
        ("https://elsewhere.example", "https://elsewhere.example:8443", 415),
        ("https://elsewhere.example", "https://a.elsewhere.example", 415),
        ("*", "https://elsewhere.example", 200),
        ("*", "null", 200),
    ],
)
def test_pages_that_are_named_may_send_it_too(named: str, origin: str, status: int) -> None:
    """Those of ORCHARD_CORS_ORIGINS, by scheme, host and port; * names all."""
    settings = Settings.model_validate({"cors_origins": named})
    assert _ask(settings, LOCAL, ("origin", origin))[0] == status


@pytest.mark.parametrize("host", ["127.1", "::ffff:127.0.0.1", "127.0.0.53", "::1", "LOCALHOST"])
def test_loopback_however_it_is_written(host: str) -> None:
    """Where only this machine can ask, names that others could lead here are not admitted."""
    assert not _hosts(host=host).admits(b"evil.example")


def test_the_name_that_is_listened_on_is_ours() -> None:
    """The operator's own name may lead to a loopback address here: it is what the service was told to be."""
    assert _hosts(host="LocalHost.localdomain").admits(b"localhost.localdomain:8000")
