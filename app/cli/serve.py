"""What `orchard serve` does: it sees that it can serve, takes its address, and serves until it is told to stop.

Whatever is wrong with the settings is said before anything else is done. The address is taken before a first model is
trained, so that who cannot serve does not train either.
"""

import contextlib
import difflib
import errno
import logging.config
import math
import os
import socket
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from app import PACKAGE, logs, shared
from app.cli.options import UNAVAILABLE
from app.data.reach import check_url
from app.errors import InvalidInput, ServiceError
from app.settings import PREFIX, Settings
from app.store.objects import open_store

if TYPE_CHECKING:
    import uvicorn

BACKLOG = 2_048
"""Connections that may wait to be accepted."""
AT_ONCE = 16
"""Connections that are accepted in one turn of the event loop, which takes one from each socket it listens on."""
WRITTEN_FOR = "0.54"
"""The uvicorn whose protocol class `app.api.door` is known to fit; tests/api/test_door.py says what to look at."""

logger = logging.getLogger("orchard")


class Server:
    """A server that has its address and does not yet listen on it."""

    def __init__(self, settings: Settings) -> None:
        """Take the address.

        Raises:
            InvalidInput: a setting is wrong.
            ServiceError: the address is in use, or not to be had.
        """
        self._settings = settings
        logging.config.dictConfig(logs.configuration(settings.log_format, settings.log_level))
        for sentence in unknown_settings(os.environ):
            logger.warning(sentence)
        if settings.unservable is not None:
            raise InvalidInput(settings.unservable)
        open_store(settings)
        if settings.database_url is not None:
            _check_database(settings.database_url)
        self._sockets = _bound(settings.host, settings.port)

    def run(self) -> None:
        """Serve until SIGTERM or Ctrl-C.

        Raises:
            ServiceError: another server has begun to listen on the address meanwhile.
            SystemExit: a serving process could not be started; the log says why.
        """
        if removed := shared.remove_abandoned():
            logger.warning("%d folders of services that ended without removing them were removed", removed)
        with self._counts_are_shared():
            _listen(self._sockets)
            self._serve()

    @contextlib.contextmanager
    def _counts_are_shared(self) -> Iterator[None]:
        """Let several workers, which inherit the environment, share their counts in a folder."""
        if self._settings.workers == 1 or self._settings.shared_folder is not None:
            yield
            return
        with shared.shared_folder() as folder:
            os.environ[f"{PREFIX}SHARED_FOLDER"] = str(folder)
            yield

    def _serve(self) -> None:
        import uvicorn  # while the first model is trained, SIGTERM is handled already
        from uvicorn.config import STARTUP_FAILURE

        from app.cli.supervisor import Supervisor

        settings = self._settings
        config = uvicorn.Config(
            f"{PACKAGE}.main:create_app",
            factory=True,
            workers=settings.workers,
            http=protocol(uvicorn.__version__),
            ws="none",
            access_log=False,
            server_header=False,
            log_config=logs.configuration(settings.log_format, settings.log_level),
            backlog=BACKLOG,
            proxy_headers=bool(settings.trusted_proxies),
            forwarded_allow_ips=list(settings.trusted_proxies),
            timeout_keep_alive=math.ceil(settings.keep_alive_s),
            timeout_graceful_shutdown=math.ceil(settings.grace_s),
        )
        sockets = [*self._sockets, *(each.dup() for each in self._sockets for _ in range(AT_ONCE - 1))]
        if settings.workers > 1:
            supervisor = Supervisor(config, sockets)
            supervisor.run()
            failed = any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes)
        else:
            failed = _failed(uvicorn.Server(config), sockets, STARTUP_FAILURE)
        if failed:
            raise SystemExit(UNAVAILABLE)


def protocol(version: str) -> str:
    """Return what uvicorn is to use as its protocol: its own, with a warning, where ours may not fit."""
    if version.rpartition(".")[0] == WRITTEN_FOR:
        return f"{PACKAGE}.api.door:Door"
    logger.warning(
        "uvicorn %s is not the one that the express lane and the limits of connections were written for (%s): "
        "predictions take longer, and connections are guarded less; install the versions of requirements.lock",
        version,
        WRITTEN_FOR,
    )
    return "httptools"


def _failed(server: "uvicorn.Server", sockets: list[socket.socket], failure: int) -> bool:
    """Serve in this process; say whether it could not even begin."""
    try:
        server.run(sockets)
    except KeyboardInterrupt:
        return False  # by then everything has been stopped in order
    except SystemExit as end:
        if end.code != failure:
            raise
        return True
    return not server.started


def unknown_settings(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence about each variable that looks like a setting and is not."""
    known = [name.upper() for name in Settings.model_fields]
    for variable in sorted(environment):
        name = variable.upper().removeprefix(PREFIX)
        if variable.upper().startswith(PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, 1)
            yield f"there is no setting {variable}" + (f": did you mean {PREFIX}{near[0]}?" if near else "")


def _check_database(url: str) -> None:
    try:
        check_url(url)
    except InvalidInput as error:
        raise InvalidInput(f"{PREFIX}DATABASE_URL: {error.detail}") from error


def _bound(host: str, port: int) -> list[socket.socket]:
    """Return sockets bound to all addresses that a host has; port 0 takes a free one, the same for all.

    Raises:
        InvalidInput: there is no such host.
        ServiceError: the port is in use, or not to be had.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise InvalidInput(f"{PREFIX}HOST: {host!r} is no address to listen on: {error.strerror}") from error
    sockets: list[socket.socket] = []
    for family, *_, address in dict.fromkeys(found):
        free = port or (sockets[0].getsockname()[1] if sockets else 0)
        if (bound := _one_bound(family, (address[0], free, *address[2:]))) is not None:
            sockets.append(bound)
    if not sockets:
        raise ServiceError(f"{_shown(host, port)} cannot be listened on: this machine has no such address")
    return sockets


def _one_bound(family: int, address: tuple[str | int, ...]) -> socket.socket | None:
    """Return a socket bound to an address, None if this machine does not have it: others of the same name may do."""
    try:
        bound = socket.socket(family, socket.SOCK_STREAM)
    except OSError:
        return None
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRNOTAVAIL:
            return None
        raise _refused(address, error) from error
    return bound


def _listen(sockets: list[socket.socket]) -> None:
    for each in sockets:
        try:
            each.listen(BACKLOG)
        except OSError as error:
            raise _refused(each.getsockname(), error) from error
        logger.info("listening on http://%s (Ctrl-C stops it)", _shown(*each.getsockname()[:2]))


def _refused(address: tuple[str | int, ...], error: OSError) -> ServiceError:
    location = _shown(str(address[0]), int(address[1]))
    if error.errno == errno.EADDRINUSE:
        return ServiceError(f"{location} is in use")
    return ServiceError(f"{location} cannot be listened on: {error.strerror}")


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
