"""The names by which the service may be asked for, and what pages of other origins may not send.

A browser sends a page's requests wherever the page's host name leads, and the owner of a name can let it lead here (DNS
rebinding): to the browser, the answers are then the page's own. Such a request can be told by its Host, which is that
name: addresses cannot be made to lead elsewhere, and localhost is not looked up.
"""

import ipaddress
import re
import socket

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api import problems
from app.errors import Misdirected, OrchardError, UnknownMediaType
from app.settings import Settings

LOCAL = "localhost"
HOST = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(?::\d*)?")
"""A Host header: a name, or an address (that of IPv6 in brackets), and perhaps a port."""
REMEMBERED = 64
LONGEST = 255
"""Bytes of a value that is remembered."""


class Hosts:
    """Says which values of the header Host are accepted, and remembers those that were."""

    def __init__(self, settings: Settings) -> None:
        self._all = "*" in settings.hosts or not (settings.hosts or _is_loopback(settings.host))
        self._names = {LOCAL, settings.host.lower(), *settings.hosts}
        self.accepted: set[bytes] = set()
        """Values that need no second look: they are few, and come with every request."""

    def admits(self, value: bytes) -> bool:
        """Say whether a request with this Host may be answered; one without a name always may."""
        if value in self.accepted:
            return True
        if not self._all and not self._is_known(value.decode("latin-1").strip().lower()):
            return False
        if len(value) <= LONGEST:
            if len(self.accepted) >= REMEMBERED:
                self.accepted.clear()
            self.accepted.add(value)
        return True

    def _is_known(self, value: str) -> bool:
        found = HOST.fullmatch(value)
        if found is None:
            return False
        name = found[1].removesuffix(".")
        return not value or name in self._names or _is_address(name.removeprefix("[").removesuffix("]"))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_loopback(address: str) -> bool:
    """Say whether only this machine reaches an address to listen on, however it is written: 127.1 is one, too."""
    if address.lower() == LOCAL:
        return True
    try:
        found = {str(place[0]).partition("%")[0] for *_, place in socket.getaddrinfo(address, None)}
    except (OSError, UnicodeError):
        return False
    return all(_unmapped(ipaddress.ip_address(each)).is_loopback for each in found)


def _unmapped(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return the IPv4 address that an IPv6 one stands for, if it does."""
    return (address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None) or address


class HostCheck:
    """Turns away requests that are for another host, and bodies without a type from pages of other origins.

    A browser asks before it sends a page's body of a type that is read here, and is told no except for
    ORCHARD_CORS_ORIGINS. A body without a type it sends without asking.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer why not."""
        error = _fault(scope) if scope["type"] == "http" else None
        if error is None:
            await self._app(scope, receive, send)
        else:
            await problems.response(Request(scope), error)(scope, receive, send)


def _fault(scope: Scope) -> OrchardError | None:
    services = scope["app"].state.services
    hosts = _values(scope, b"host")
    for host in hosts:
        if not services.hosts.admits(host):
            shown = host.decode("latin-1")[:100]
            return Misdirected(
                f"this service does not answer for the host {shown!r}: ask by its address or as localhost, "
                "or let the setting ORCHARD_HOSTS name that host"
            )
    if scope["method"] != "POST" or any(value.strip() for value in _values(scope, b"content-type")):
        return None
    known = {host.lower() for host in hosts if host}
    for origin in _values(scope, b"origin"):
        if origin.partition(b"://")[2].lower() not in known and not _is_named(origin, services.settings):
            return UnknownMediaType(
                "a page of another origin has to name its body's type, such as Content-Type: application/json"
            )
    return None


def _is_named(origin: bytes, settings: Settings) -> bool:
    return "*" in settings.cors_origins or origin.decode("latin-1").lower() in settings.cors_origins


def _values(scope: Scope, wanted: bytes) -> list[bytes]:
    return [value for name, value in scope["headers"] if name == wanted]
