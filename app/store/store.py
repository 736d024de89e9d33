"""What a model store does, in a folder (`app.store.objects`) or in object storage (`app.store.bucket`)."""

from typing import Protocol

from app.errors import OrchardError


class NameTaken(OrchardError):
    """An object of this name exists already; it is left as it is."""


class Store(Protocol):
    """Objects by their name (``versions/1.safetensors``), which are created once and never changed."""

    is_remote: bool
    """Whether it is in object storage: a look there takes milliseconds and is paid for, nothing is ever taken away,
    and nobody edits by hand what is stored, so that what was read once need not be read again."""

    def location(self, name: str) -> str:
        """Return where an object is, for people."""

    def create(self, name: str, content: bytes) -> None:
        """Store ``content`` under a new name, durably.

        Raises:
            NameTaken: the name exists.
            StoreUnavailable: it could not be written; there is no such object, and none will come.
            Unconfirmed: it may have been written, or may still be.
        """

    def read(self, name: str) -> bytes:
        """Return an object's content.

        Raises:
            NotFound: there is no such object.
            StoreUnavailable: it cannot be read.
        """

    def exists(self, name: str) -> bool:
        """Say whether there is an object of this name.

        Raises:
            StoreUnavailable: the store cannot be looked at.
        """

    def numbers(self, folder: str, suffix: str) -> list[int]:
        """Return, ascending, the n of all the objects ``folder/<n><suffix>``.

        Raises:
            StoreUnavailable: the store cannot be listed.
        """

    def discard(self, name: str) -> None:
        """Take back an object that nothing refers to yet, if it exists.

        Raises:
            StoreUnavailable: it cannot be removed.
        """

    def clean(self) -> int:
        """Remove what writers have left that died, and return how many pieces there were.

        Raises:
            StoreUnavailable: it cannot be removed.
        """
