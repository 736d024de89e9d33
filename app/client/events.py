"""Server-sent events, as far as Orchard sends them: lines in, events out (WHATWG HTML, 9.2.6)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """A named event and its data."""

    name: str
    data: str


class Events:
    """Puts lines together to events. It does no reading, so that it serves blocking and asynchronous readers."""

    def __init__(self) -> None:
        self._name = ""
        self._data: list[str] = []

    def feed(self, line: str) -> Event | None:
        """Take in a line without its end; return the event that it completes, or None."""
        if line:
            self._note(*line.split(":", 1))
            return None
        event = Event(self._name or "message", "\n".join(self._data)) if self._data else None
        self._name, self._data = "", []
        return event

    def _note(self, field: str, value: str = "") -> None:
        value = value.removeprefix(" ")
        if field == "event":
            self._name = value
        elif field == "data":
            self._data.append(value)
