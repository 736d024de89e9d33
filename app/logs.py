"""Log lines: for people, or as JSON for machines; each with the id of the request that it belongs to.

The rest of Orchard logs with `logging`; how a line looks is decided here.
"""

import logging
import sys
from collections.abc import Mapping
from typing import Any, Literal

# structlog loads rich where it finds it, which takes 30 ms of each start, and nothing here is drawn with it.
_rich = sys.modules.setdefault("rich", None)  # type: ignore[arg-type]
import structlog  # noqa: E402
from structlog.typing import EventDict, Processor  # noqa: E402

if _rich is None:
    del sys.modules["rich"]

Format = Literal["console", "json"]
Level = Literal["debug", "info", "warning", "error"]

WRITES = logging.getLogger("orchard.writes")
"""A line for each write: who, what and why."""
NOT_SHOWN = ("color_message", "taskName")
"""What uvicorn and Python add to records for others."""


def configuration(log_format: Format, level: Level) -> dict[str, Any]:
    """Return what `logging.config.dictConfig` takes: all lines go to standard error, in one form."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"lines": {"()": f"{__name__}.{formatter.__name__}", "log_format": log_format}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "lines"}},
        "root": {"level": level.upper(), "handlers": ["stderr"]},
    }


def formatter(log_format: Format) -> logging.Formatter:
    """Return the formatter of all lines."""
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.add_log_level,
            structlog.stdlib.ExtraAdder(),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _trimmed,
        ],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(log_format)],
    )


def _renderers(log_format: Format) -> list[Processor]:
    # Neither shows local variables beside a traceback: a token may be among them.
    if log_format == "json":
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]
    plain = structlog.dev.plain_traceback
    return [_on_one_line, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]


def _trimmed(_logger: Any, _method: str, event: EventDict) -> EventDict:
    for name in NOT_SHOWN:
        event.pop(name, None)
    event["event"] = str(event["event"]).rstrip()  # uvicorn ends some with a line break
    return event


def _on_one_line(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Quote what a client has sent, so that it cannot pass for a line of its own."""
    return {
        name: repr(value) if isinstance(value, str) and name != "exception" and not value.isprintable() else value
        for name, value in event.items()
    }


def bind(values: Mapping[str, str]) -> None:
    """Let all lines of this request carry these values."""
    structlog.contextvars.bind_contextvars(**values)


def log_write(action: str, *, who: str, note: str, **what: object) -> None:
    """Record a write: who made it, what it did, and why."""
    WRITES.info(action, extra={"who": who, **what, "why": note})
