"""The closed list of events an operator may grep or count, and how each reads as one line.

Every event is a frozen value; `line()` gives `<queue id> <word> [<peer>] ...` in the field's words, queue id first
where there is one, the peer's address in brackets before any text the peer controls. Peer-supplied text is escaped.
Nothing here ever holds a password or content. `service` installs the sink; tests collect events in a list.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import ClassVar

from mailserver.mail.reply import printable

# What may stand behind `=` without quotes.
_PLAIN = re.compile('[^ "=,]+')


@dataclass(frozen=True, slots=True)
class MailEvent:
    """What all events have: a `word`, and fields in the order in which they are written."""

    word: ClassVar[str] = ""
    # Trouble on our side is written at the level of a warning, so that it stands out.
    is_trouble: ClassVar[bool] = False

    def line(self) -> str:
        """The event as one line of printable text."""
        queue_id = getattr(self, "queue_id", "")
        parts = [printable(queue_id), self.word] if queue_id else [self.word]
        peer = getattr(self, "peer", None)
        if peer is not None:
            parts.append(f"[{printable(peer)}]")
        for name in _other_fields(type(self)):
            value = getattr(self, name)
            if value is not None and value != "" and value != ():
                parts.append(f"{name}={_shown(value)}")
        return " ".join(parts)


_names: dict[type[MailEvent], tuple[str, ...]] = {}


def _other_fields(event: type[MailEvent]) -> tuple[str, ...]:
    """The names of an event's fields but for those that stand at its beginning; worked out once for each event."""
    names = _names.get(event)
    if names is None:
        names = tuple(field.name for field in fields(event) if field.name not in ("queue_id", "peer"))
        _names[event] = names
    return names


def _shown(value: object) -> str:
    """Plain where that is unambiguous, else in quotes; several values with commas."""
    if isinstance(value, tuple):
        return ",".join(_shown(item) for item in value)
    if isinstance(value, float):
        return f"{value:.3f}"
    text = printable(str(value))
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


Sink = Callable[[MailEvent], None]


def nowhere(event: MailEvent) -> None:
    """The sink for tests and tools that keep no log."""
    del event


# --- arrival ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Accepted(MailEvent):
    """A message was taken: it is on disk and the 250 follows. `protocol` as in Received (`ESMTPSA`)."""

    word: ClassVar[str] = "accepted"
    queue_id: str
    peer: str
    reverse_path: str
    recipients: tuple[str, ...]
    size_octets: int
    protocol: str
    login: str = ""
    tls: str = ""
    message_id: str = ""


@dataclass(frozen=True, slots=True)
class Filed(MailEvent):
    """One copy is in a Maildir."""

    word: ClassVar[str] = "filed"
    queue_id: str
    mailbox: str
    recipient: str


@dataclass(frozen=True, slots=True)
class Queued(MailEvent):
    """These recipients wait in the queue. `reason` tells why when they are local."""

    word: ClassVar[str] = "queued"
    queue_id: str
    recipients: tuple[str, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Refused(MailEvent):
    """A command or a message was refused with 4yz or 5yz. `command` is the verb; `about` the address in question."""

    word: ClassVar[str] = "refused"
    queue_id: str
    peer: str
    command: str
    reply: str
    about: str = ""
    reverse_path: str = ""


@dataclass(frozen=True, slots=True)
class Disconnected(MailEvent):
    """A connection that ended other than by QUIT, or that we closed, and why."""

    word: ClassVar[str] = "disconnected"
    peer: str
    service: str
    reason: str


@dataclass(frozen=True, slots=True)
class LoginSucceeded(MailEvent):
    """Somebody proved who they are."""

    word: ClassVar[str] = "login"
    peer: str
    service: str
    login: str
    mechanism: str
    tls: str = ""


@dataclass(frozen=True, slots=True)
class LoginRefused(MailEvent):
    """A login that did not succeed; the login name is the peer's text."""

    word: ClassVar[str] = "login-refused"
    peer: str
    service: str
    login: str
    mechanism: str
    reason: str = ""


# --- queue and relay --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sent(MailEvent):
    """The next hop took a recipient (outcome delivered)."""

    word: ClassVar[str] = "delivered"
    queue_id: str
    recipient: str
    host: str
    reply: str
    delay_s: float
    tls: str = ""


@dataclass(frozen=True, slots=True)
class DeferredEvent(MailEvent):
    """A recipient has to wait."""

    word: ClassVar[str] = "deferred"
    queue_id: str
    recipient: str
    host: str
    reason: str
    reply: str
    next_attempt_s: float
    attempts: int


@dataclass(frozen=True, slots=True)
class BouncedEvent(MailEvent):
    """A recipient was given up: refused for good, or expired."""

    word: ClassVar[str] = "bounced"
    queue_id: str
    recipient: str
    host: str
    enhanced: str
    reason: str
    reply: str


@dataclass(frozen=True, slots=True)
class ReportMade(MailEvent):
    """A DSN was made. `about` is the queue id of the message it reports on."""

    word: ClassVar[str] = "report"
    queue_id: str
    about: str
    action: str
    recipient: str


@dataclass(frozen=True, slots=True)
class ReportDropped(MailEvent):
    """A report was due and may not be sent: null reverse-path, or NOTIFY says so."""

    word: ClassVar[str] = "report-dropped"
    queue_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Removed(MailEvent):
    """The last recipient is done and the message left the queue, or the operator removed it."""

    word: ClassVar[str] = "removed"
    queue_id: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class QueueFileDamaged(MailEvent):
    """A queue file could not be read; it was set aside, not deleted."""

    word: ClassVar[str] = "damaged"
    is_trouble: ClassVar[bool] = True
    queue_id: str
    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class SentInClear(MailEvent):
    """A host's TLS does not work; the attempt goes on in clear on a new connection (RFC 7435)."""

    word: ClassVar[str] = "clear-text"
    host: str
    reason: str


# --- POP3 -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MaildropClosed(MailEvent):
    """A POP3 session ended in UPDATE or without it."""

    word: ClassVar[str] = "maildrop"
    peer: str
    login: str
    retrieved: int
    deleted: int
    remaining: int
    octets_sent: int
    reason: str = ""


# --- the process ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Started(MailEvent):
    """The server takes connections."""

    word: ClassVar[str] = "started"
    hostname: str
    listening: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stopping(MailEvent):
    """The server is asked to stop."""

    word: ClassVar[str] = "stopping"
    sessions: int


@dataclass(frozen=True, slots=True)
class Reloaded(MailEvent):
    """Something was read anew: accounts, certificates, configuration."""

    word: ClassVar[str] = "reloaded"
    what: str


@dataclass(frozen=True, slots=True)
class ReloadRefused(MailEvent):
    """Something could not be read anew; what was in force stays in force."""

    word: ClassVar[str] = "reload-refused"
    is_trouble: ClassVar[bool] = True
    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class Trouble(MailEvent):
    """Something on our side does not work; what it means for mail stands in `effect`."""

    word: ClassVar[str] = "trouble"
    is_trouble: ClassVar[bool] = True
    queue_id: str
    what: str
    reason: str
    effect: str = ""
