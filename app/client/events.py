"""Server-sent events, as far as Orchard sends them: lines in, events out (WHATWG HTML, 9.2.6)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from app.client.errors import Unreadable


@dataclass(frozen=True, slots=True)
class Event:
    """A named event and its data; ``id``: the last one given in the stream so far."""

    name: str
    data: str
    id: str = ""


@dataclass(frozen=True, slots=True)
class ServiceEvent:
    """Something that has happened to a service.

    ``name``: `activated` (data: ``version``, ``who``, ``note``), `trained` (``version``, ``decision``), `drift`
    (``distance``, ``different``), or what newer services add. ``id``: the last line of the activation log until then;
    None before there is one.
    """

    name: str
    id: int | None
    data: Mapping[str, Any]


_DATA = TypeAdapter(dict[str, Any])


def happened(event: Event) -> ServiceEvent:
    """Read an event of a service.

    Raises:
        Unreadable: it is none of Orchard's.
    """
    try:
        data = _DATA.validate_json(event.data)
    except ValidationError as error:
        raise Unreadable(f"the event {event.name!r} is not Orchard's: its data is no object of JSON") from error
    is_number = event.id.isascii() and event.id.isdigit()
    return ServiceEvent(event.name, int(event.id) if is_number else None, data)


class Events:
    """Puts parts of a stream together to events. It does no reading, so that it serves blocking and other readers.

    Lines end with a line feed, and with nothing else that ends lines elsewhere: such a sign may be in a note.
    """

    def __init__(self) -> None:
        self._name = ""
        self._data: list[str] = []
        self._id = ""
        self._rest = b""

    def take(self, part: bytes) -> Iterator[Event]:
        """Take in a part of the stream; yield the events that it completes."""
        *lines, self._rest = (self._rest + part).split(b"\n")
        for line in lines:
            if event := self.feed(line.removesuffix(b"\r").decode(errors="replace")):
                yield event

    def feed(self, line: str) -> Event | None:
        """Take in a line without its end; return the event that it completes, or None."""
        if line:
            self._note(*line.split(":", 1))
            return None
        event = Event(self._name or "message", "\n".join(self._data), self._id) if self._data else None
        self._name, self._data = "", []
        return event

    def _note(self, field: str, value: str = "") -> None:
        value = value.removeprefix(" ")
        if field == "event":
            self._name = value
        elif field == "data":
            self._data.append(value)
        elif field == "id":
            self._id = value
