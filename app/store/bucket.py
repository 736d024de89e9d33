"""Objects in object storage: created once, read back after every doubt, never taken away.

A PUT that was answered by an error, or by nothing, may have been carried out, or may be later; so may one whose answer
says that the name is taken, which it may be by this very PUT. So after every doubt the object itself is asked. Nothing
here depends on a clock, on a list being up to date, or on a lease.

Keys, endpoints and the like come from the environment, under the names that obstore gives them (AWS_ACCESS_KEY_ID,
AWS_ENDPOINT_URL, AWS_WEB_IDENTITY_TOKEN_FILE, GOOGLE_SERVICE_ACCOUNT, AZURE_STORAGE_ACCOUNT_NAME, …).
"""

import importlib.util
import itertools
import logging
import os
import random
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar
from urllib.parse import unquote

from app.errors import InvalidInput, NotFound, StoreUnavailable, Unconfirmed
from app.settings import PREFIX, StoreURL
from app.store.store import NameTaken

if TYPE_CHECKING:
    from obstore.store import ClientConfig

EXTRA = "orchard-service[objects]"
PROBE = "probe"
"""The object that tells whether a store refuses to create what is there. Its name is fixed: then there is one for all
times, which also shows, wherever missing objects are answered 403, that the store can be read."""
PROBED = b"Orchard sees by this object whether the store refuses to create what is there already.\n"
VARIABLES = {"s3": "AWS_", "gs": "GOOGLE_", "az": "AZURE_"}
"""What the names of variables begin with that a kind of store takes, by the scheme of its URL."""
CLIENT_OPTIONS = ("allow_http", "allow_invalid_certificates", "proxy_url", "proxy_ca_certificate", "proxy_excludes")
"""What the environment may say of connections (``AWS_ALLOW_HTTP``): obstore overlooks it where time-outs are given."""
TRUE = frozenset({"1", "true", "yes", "on"})
PAUSES_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
"""Between the attempts to create an object, seconds, about; the last one again and again."""
READ_AGAIN = 2
"""How often a read is repeated that has failed."""
LARGEST_READ_S = 120.0
"""How long the largest object may take to arrive, seconds, while something of it does arrive."""
BYTES_A_SECOND = 2**20
"""How fast an object must be taken at least."""

STATUS = re.compile(r"status code: (\d{3}) ?([A-Za-z ]*)")
CODE = re.compile(r"<Code>(\w+)</Code>")
ASKED = re.compile(r"Error performing \w+ (\S+) in ")
"""The URL that failed, percent-encoded as a kind of store wants it; REDACTED where it holds a signature."""
REQUEST_TIMEOUT, TOO_MANY, UNAVAILABLE = 408, 429, 503
INPUT_ERRORS = range(400, 500)

logger = logging.getLogger("orchard.store")
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long is waited: for a connection, for an answer, and, attempts and pauses together, for all; seconds."""

    connect_s: float = 2.0
    answer_s: float = 3.0
    all_s: float = 10.0


class Outcome(Enum):
    """What became of a PUT, as far as its answer tells."""

    STORED = auto()
    TAKEN = auto()
    """The store says that there is such an object: somebody's, our own, or, while another one is being made, none."""
    REFUSED = auto()
    """Certainly not carried out; later it may be."""
    FORBIDDEN = auto()
    """Certainly not carried out, and it would not be if it were tried again."""
    UNKNOWN = auto()


class Bucket:
    """The objects below a URL. The client is made at the first call, in each process that needs it."""

    is_remote = True

    def __init__(self, url: StoreURL, patience: Patience = Patience()) -> None:
        """Raises InvalidInput: obstore is not installed."""
        if importlib.util.find_spec("obstore") is None:
            raise InvalidInput(
                f"{PREFIX}MODEL_STORE: {url} is in object storage, for which obstore is needed: install {EXTRA}, or "
                "name a folder"
            )
        self._url = url
        self._patience = patience
        self._clients: dict[tuple[int, float, float], Any] = {}
        self._is_sound = False
        self._known = PROBE
        self._is_warned = False

    def __reduce__(self) -> tuple[type["Bucket"], tuple[StoreURL, Patience]]:
        """Go to another process without the client."""
        return Bucket, (self._url, self._patience)

    def location(self, name: str) -> str:
        """Return an object's URL."""
        return f"{self._url}/{name}"

    def create(self, name: str, content: bytes) -> None:
        """Store ``content`` under a new name, durably; it must be like no other writer's.

        Raises:
            NameTaken: the name exists, and with other content.
            StoreUnavailable: it could not be written; there is no such object, and none will come.
            Unconfirmed: it may have been written, or may still be.
        """
        self._see_that_it_is_sound()
        may_come, reason = False, ""
        for _ in self._attempts():
            outcome, reason = self._put(name, content)
            if outcome is Outcome.STORED:
                return
            may_come = may_come or outcome is Outcome.UNKNOWN
            if may_come or outcome is Outcome.TAKEN:
                try:
                    found = self._found(name)
                except StoreUnavailable as error:
                    may_come, reason, found = True, error.detail, None
                if found == content:
                    return
                if found is not None:
                    raise NameTaken(f"{name} exists")
            if outcome is Outcome.FORBIDDEN:
                break
        if may_come:
            raise Unconfirmed(
                f"it is not known whether {name} was written to the model store, which may still happen ({reason}): "
                "look whether it is there, or repeat the call under the same Idempotency-Key"
            )
        raise StoreUnavailable(f"the model store cannot be written: {reason}")

    def read(self, name: str) -> bytes:
        """Return an object's content.

        Raises:
            NotFound: there is no such object.
            StoreUnavailable: it cannot be read.
        """
        if (found := self._found(name)) is None:
            raise NotFound(f"there is no {name}")
        return found

    def exists(self, name: str) -> bool:
        """Say whether there is an object of this name.

        Raises:
            StoreUnavailable: the store cannot be looked at.
        """
        import obstore  # noqa: PLC0415 - by those who have such a store

        return self._looked_for(name, lambda: obstore.head(self._reading, name)) is not None

    def numbers(self, folder: str, suffix: str) -> list[int]:
        """Return, ascending, the n of all the objects ``folder/<n><suffix>``: a request for each thousand of them.

        Nothing is decided by it: a list may lag behind.

        Raises:
            StoreUnavailable: the store cannot be listed.
        """
        import obstore  # noqa: PLC0415 - by those who have such a store

        try:
            paths = [
                found["path"] for part in obstore.list(self._reading, f"{folder}/", chunk_size=1_000) for found in part
            ]
        except FileNotFoundError:
            return []
        except obstore.exceptions.BaseError as error:
            self._fail(f"the model store cannot be listed: {_reason(error)}", error)
        names = (path.rpartition("/")[2] for path in paths)
        stems = (name.removesuffix(suffix) for name in names if name.endswith(suffix))
        return sorted(int(stem) for stem in stems if stem.isascii() and stem.isdigit())

    def discard(self, name: str) -> None:
        """Leave the object where it is: its number must never mean another one, and what is unnamed harms nobody."""

    def clean(self) -> int:
        """Return 0: a PUT is whole or not at all, and leaves nothing behind."""
        return 0

    def _see_that_it_is_sound(self) -> None:
        """Before the first write of a process: see that the store refuses to create what is there.

        Some that speak S3 take ``If-None-Match: *`` and pass over it: each of two writers would believe that it has
        won. A reader needs none of that.

        Raises:
            StoreUnavailable: it does not refuse, or cannot be asked.
        """
        if self._is_sound:
            return
        stored, reason = 0, ""
        for _ in self._attempts():
            outcome, reason = self._put(PROBE, PROBED)
            if outcome is Outcome.TAKEN:
                self._is_sound = True
                return
            stored += outcome is Outcome.STORED
            if stored > 1:
                unsound = (
                    "the model store ignores If-None-Match: what is there already would be written over, and of two "
                    "writers each would believe to have won; it is read, and not written: take a store with "
                    "conditional writes"
                )
                logger.error(unsound)
                raise StoreUnavailable(unsound)
            if outcome is Outcome.FORBIDDEN:
                break
        raise StoreUnavailable(f"the model store cannot be written: {reason}")

    def _attempts(self) -> Iterator[None]:
        """Yield as often as something may be tried, with pauses, which differ from one process to another."""
        end = time.monotonic() + self._patience.all_s
        for pause in itertools.chain(PAUSES_S, itertools.repeat(PAUSES_S[-1])):
            yield
            longer = pause * random.uniform(0.7, 1.3)  # noqa: S311 - so that those who collide do not again
            if time.monotonic() + longer > end:
                return
            time.sleep(longer)

    def _put(self, name: str, content: bytes) -> tuple[Outcome, str]:
        """Try once to create an object, and return what came of it, and why."""
        import obstore  # noqa: PLC0415 - by those who have such a store
        from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError  # noqa: PLC0415

        longest_s = self._patience.answer_s + len(content) // BYTES_A_SECOND
        try:
            obstore.put(self._client(0, longest_s, longest_s), name, content, mode="create", use_multipart=False)
        except (AlreadyExistsError, PreconditionError):
            return Outcome.TAKEN, "it says that there is such an object, and there is none"
        except (BaseError, FileNotFoundError) as error:
            logger.debug("%s: %s", name, error)
            return _outcome(error, name), _reason(error)
        return Outcome.STORED, ""

    def _found(self, name: str) -> bytes | None:
        """Return an object's content, None where there is no such object."""
        import obstore  # noqa: PLC0415 - by those who have such a store

        return self._looked_for(name, lambda: bytes(obstore.get(self._reading, name).bytes()))

    def _looked_for(self, name: str, look: Callable[[], Found]) -> Found | None:
        """Return what a look returns, None where there is no such object.

        Without the right to list them S3 answers 403 for objects that are missing: they are, if one that is known to
        be there can be read at the same time.

        Raises:
            StoreUnavailable: it is not known.
        """
        from obstore.exceptions import BaseError, NotFoundError, PermissionDeniedError  # noqa: PLC0415

        try:
            found = look()
        except (FileNotFoundError, NotFoundError) as error:
            if "NoSuchBucket" in str(error):
                self._fail("the model store cannot be read: there is no such bucket", error)
            return None
        except PermissionDeniedError as error:
            if name != self._known and self._can_be_read():
                return None
            self._fail(
                f"the model store cannot be read: {_reason(error)}; this is also how missing objects are answered "
                "without the right to list them: grant s3:GetObject and s3:ListBucket",
                error,
            )
        except BaseError as error:
            self._fail(f"the model store cannot be read: {_reason(error)}", error)
        self._known = name
        return found

    def _can_be_read(self) -> bool:
        import obstore  # noqa: PLC0415 - by those who have such a store

        try:
            obstore.head(self._reading, self._known)
        except (obstore.exceptions.BaseError, FileNotFoundError):
            return False
        if not self._is_warned:
            self._is_warned = True
            logger.warning(
                "the model store answers 403 where there is no object, which is taken for absence, since others can be "
                "read: grant s3:ListBucket, without which a lost permission looks the same, and versions are not listed"
            )
        return True

    def _fail(self, detail: str, error: Exception) -> NoReturn:
        raise StoreUnavailable(detail) from _first_line(error)

    @property
    def _reading(self) -> Any:
        return self._client(READ_AGAIN, self._patience.answer_s, LARGEST_READ_S)

    def _client(self, tries: int, answer_s: float, longest_s: float) -> Any:
        """Return a client that waits so long for an answer to begin, or go on, and for all of it."""
        key = tries, answer_s, longest_s
        if key not in self._clients:
            self._clients[key] = self._made(tries, answer_s, longest_s)
        return self._clients[key]

    def _made(self, tries: int, answer_s: float, longest_s: float) -> Any:
        from obstore.exceptions import BaseError  # noqa: PLC0415 - by those who have such a store
        from obstore.store import from_url  # noqa: PLC0415

        options: ClientConfig = {
            "connect_timeout": timedelta(seconds=self._patience.connect_s),
            "read_timeout": timedelta(seconds=answer_s),
            "timeout": timedelta(seconds=longest_s),
            **_of_environment(str(self._url).partition(":")[0]),  # type: ignore[typeddict-item]
        }
        try:
            return from_url(
                str(self._url),
                client_options=options,
                retry_config={"max_retries": tries, "retry_timeout": timedelta(seconds=self._patience.all_s)},
            )
        except (BaseError, ValueError) as error:
            first = _first_line(error)
            raise StoreUnavailable(f"the model store {self._url} cannot be opened: {first}") from first


def _of_environment(scheme: str) -> dict[str, str | bool]:
    """Return what the environment says of connections."""
    found: dict[str, str | bool] = {}
    for option in CLIENT_OPTIONS:
        if value := os.environ.get(f"{VARIABLES[scheme]}{option.upper()}"):
            found[option] = value.lower() in TRUE if option.startswith("allow_") else value
    return found


def _first_line(error: Exception) -> OSError:
    """Return an error as a log is to show it: what was asked, and what came; obstore adds pages of its insides."""
    return OSError(str(error).partition("\n")[0])


def _outcome(error: Exception, name: str) -> Outcome:
    """Return what became of a PUT that was answered by an error: unknown, unless it is certain."""
    text = str(error)
    status = int(found[1]) if (found := STATUS.search(text)) else None
    if (asked := ASKED.search(text)) and asked[1] != "REDACTED" and not unquote(asked[1]).endswith(f"/{name}"):
        return Outcome.FORBIDDEN  # keys were asked for elsewhere: the PUT was not sent
    if status == TOO_MANY or (status == UNAVAILABLE and "SlowDown" in text):
        return Outcome.REFUSED
    if status is None:
        return Outcome.REFUSED if "kind: Connect" in text else Outcome.UNKNOWN
    return Outcome.FORBIDDEN if status in INPUT_ERRORS and status != REQUEST_TIMEOUT else Outcome.UNKNOWN


def _reason(error: Exception) -> str:
    """Return in few words why a request failed, without addresses and keys, which are in the cause."""
    text = str(error)
    if found := STATUS.search(text):
        code = f" ({told[1]})" if (told := CODE.search(text)) else ""
        return f"it answers {found[1]} {found[2].strip()}".rstrip() + code
    if "kind: Connect" in text:
        return "no connection to it"
    if "kind: Timeout" in text:
        return "no answer from it in time"
    return "no whole answer from it"
