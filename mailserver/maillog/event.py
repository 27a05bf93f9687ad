"""What every event is, and how it reads as one line."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, ClassVar

from mailserver.mail.reply import printable

# What may stand behind `=` without quotes.
_PLAIN = re.compile('[^ "=,]+')
# The same for ASCII without controls, in one step.
_PLAIN_ASCII = re.compile(r"[!#-+\--<>-~]+").fullmatch


@dataclass(frozen=True, slots=True)
class MailEvent:
    """What all events have: a `word`, and fields in the order in which they are written."""

    word: ClassVar[str] = ""
    # Trouble on our side is written at the level of a warning, so that it stands out.
    is_trouble: ClassVar[bool] = False
    # Too many or too small for the log, and what somebody asks for later: only the journal gets them.
    is_history_only: ClassVar[bool] = False
    # Of no use to whoever looks for a message: the journal does not keep them.
    is_log_only: ClassVar[bool] = False

    def line(self) -> str:
        """The event as one line of printable text."""
        names, values = _shown_fields(type(self))
        parts = [self.word]
        for name, value in zip(names, values(self), strict=True):
            if name == "queue_id":
                if value:
                    parts.insert(0, printable(value))
            elif name == "peer":
                parts.append(f"[{printable(value)}]")
            elif type(value) is str and _PLAIN_ASCII(value):
                parts.append(f"{name}={value}")
            elif value is not None and value != "" and value != ():
                parts.append(f"{name}={_shown(value)}")
        return " ".join(parts)


# Marks a field that is not written in the log's line.
HISTORY = {"is_history_only": True}


Getter = tuple[tuple[str, ...], Callable[[MailEvent], tuple[Any, ...]]]
_getters: dict[type[MailEvent], Getter] = {}


def _shown_fields(event: type[MailEvent]) -> Getter:
    """The names of an event's fields in the order of its line, and what gets their values; worked out once."""
    getter = _getters.get(event)
    if getter is None:
        getter = _getters[event] = _getter_of(event)
    return getter


def _getter_of(event: type[MailEvent]) -> Getter:
    names = tuple(one.name for one in fields(event) if not one.metadata)
    if "peer" in names:
        names = ("peer", *(name for name in names if name != "peer"))
    if len(names) > 1:
        return names, attrgetter(*names)
    return names, lambda event: tuple(getattr(event, name) for name in names)


def _shown(value: object) -> str:
    """Plain where that is unambiguous, else in quotes; several values with commas."""
    if isinstance(value, tuple):
        return ",".join(_shown(item) for item in value)
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, int):
        return str(value)
    text = printable(str(value))
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


Sink = Callable[[MailEvent], None]


def nowhere(event: MailEvent) -> None:
    """The sink for tests and tools that keep no log."""
    del event
