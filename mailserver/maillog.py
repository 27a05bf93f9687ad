"""The closed list of events an operator may grep or count, and how each reads as one line.

Every event is a frozen value; `line()` gives `<queue id> <word> [<peer>] ...` in the field's words, queue id first
where there is one, the peer's address in brackets before any text the peer controls. Peer-supplied text is escaped.
Nothing here ever holds a password or content. `service` installs the sink; tests collect events in a list.

Events go two ways: into the log, as lines, and into the journal behind `mailserver why`, as facts. What only one of the
two wants is marked: whole events with `is_history_only` or `is_log_only`, single fields with `_HISTORY`.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields
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
_HISTORY = {"is_history_only": True}


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


# --- arrival ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Accepted(MailEvent):
    """A message was taken: it is on disk and the 250 follows. `protocol` as in Received (`ESMTPSA`).

    `subject` is the field's value as it came, unfolded and cut; whoever shows it decodes it.
    """

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
    hello: str = field(default="", metadata=_HISTORY)
    subject: bytes = field(default=b"", metadata=_HISTORY)


@dataclass(frozen=True, slots=True)
class Authenticated(MailEvent):
    """What was found out about who sent a stranger's message. Only what there was to check is told.

    `dkim`: each signature as `pass example.org s1 rsa-sha256`, with the reason when it did not pass. `arc` likewise.
    `spf`: the reverse-path as `fail example.org -all`, and HELO when its domain says anything.
    """

    word: ClassVar[str] = "authenticated"
    queue_id: str
    peer: str
    dkim: tuple[str, ...] = ()
    arc: str = ""
    spf: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Filed(MailEvent):
    """One copy is in a Maildir. `file` is the unique part of its name there, which POP3 events name too."""

    word: ClassVar[str] = "filed"
    queue_id: str
    mailbox: str
    recipient: str
    file: str = field(default="", metadata=_HISTORY)


@dataclass(frozen=True, slots=True)
class Queued(MailEvent):
    """These recipients wait in the queue. `reason` tells why when they are local."""

    word: ClassVar[str] = "queued"
    queue_id: str
    recipients: tuple[str, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Refused(MailEvent):
    """A command or a message was refused with 4yz or 5yz. `command` is the verb; `about` the address in question.

    `recipients` are those of a whole message that was refused; `service` is `smtp`, `submission` and so on.
    """

    word: ClassVar[str] = "refused"
    queue_id: str
    peer: str
    command: str
    reply: str
    about: str = ""
    reverse_path: str = ""
    service: str = field(default="", metadata=_HISTORY)
    hello: str = field(default="", metadata=_HISTORY)
    login: str = field(default="", metadata=_HISTORY)
    recipients: tuple[str, ...] = field(default=(), metadata=_HISTORY)


@dataclass(frozen=True, slots=True)
class Disconnected(MailEvent):
    """A connection that ended other than by QUIT, or that we closed, and why."""

    word: ClassVar[str] = "disconnected"
    peer: str
    service: str
    reason: str


@dataclass(frozen=True, slots=True)
class Folded(MailEvent):
    """`count` lines with the word `what` were not written in the last minute: a flood. `most`: who made `of_most`."""

    word: ClassVar[str] = "folded"
    is_log_only: ClassVar[bool] = True
    what: str
    count: int
    clients: int
    most: str
    of_most: int


@dataclass(frozen=True, slots=True)
class LoginSucceeded(MailEvent):
    """Somebody proved who they are."""

    word: ClassVar[str] = "login"
    # A mail program that polls makes one each minute; what it then does has events of its own.
    is_log_only: ClassVar[bool] = True
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
    # As in `DestinationDown`; empty for mailboxes here.
    destination: str = field(default="", metadata=_HISTORY)
    # Whether another message's attempt told it: the destination as a whole was not there.
    is_shared: bool = field(default=False, metadata=_HISTORY)


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
    # How far the last attempt came, as in `Tried`.
    stage: str = field(default="", metadata=_HISTORY)


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
class Held(MailEvent):
    """These recipients are not tried until somebody releases them. `by` is the operator, or `rule` and which."""

    word: ClassVar[str] = "held"
    queue_id: str
    recipients: tuple[str, ...]
    by: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Released(MailEvent):
    """The operator lets these recipients be tried again."""

    word: ClassVar[str] = "released"
    queue_id: str
    recipients: tuple[str, ...]
    by: str


@dataclass(frozen=True, slots=True)
class Suppressed(MailEvent):
    """A recipient is on the suppression list from now on. `queue_id` is the message that was refused once too often."""

    word: ClassVar[str] = "suppressed"
    queue_id: str
    recipient: str
    by: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Unsuppressed(MailEvent):
    """The operator took a recipient off the suppression list."""

    word: ClassVar[str] = "unsuppressed"
    recipient: str
    by: str


@dataclass(frozen=True, slots=True)
class Ordered(MailEvent):
    """The operator changed something about a queued message. `what` is `retry`, `remove`, ...; `by` who it was."""

    word: ClassVar[str] = "ordered"
    queue_id: str
    what: str
    by: str = ""


@dataclass(frozen=True, slots=True)
class Expanded(MailEvent):
    """An alias with several targets became a message of its own, `queue_id`; `about` is the one it comes from."""

    word: ClassVar[str] = "expanded"
    queue_id: str
    about: str
    recipient: str
    recipients: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DestinationDown(MailEvent):
    """A destination as a whole is not there: one attempt now and then counts for all who wait for it, until it is back.

    `destination` is a domain, or host and port of a fixed route or the smarthost. Told once, when that begins.
    """

    word: ClassVar[str] = "destination-down"
    destination: str
    reason: str
    reply: str = ""


@dataclass(frozen=True, slots=True)
class DestinationBack(MailEvent):
    """It takes part again, after `down_s` seconds: who waited for that is tried now."""

    word: ClassVar[str] = "destination-back"
    destination: str
    down_s: float


@dataclass(frozen=True, slots=True)
class LookedUp(MailEvent):
    """What DNS said for an attempt: `hosts` in the order in which they are tried, `mx.example.net[192.0.2.1]`."""

    word: ClassVar[str] = "looked-up"
    is_history_only: ClassVar[bool] = True
    queue_id: str
    destination: str
    hosts: tuple[str, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Tried(MailEvent):
    """One connection of an attempt that ended before the message was offered. `stage` is how far it came."""

    word: ClassVar[str] = "tried"
    is_history_only: ClassVar[bool] = True
    queue_id: str
    host: str
    stage: str
    reason: str
    reply: str = ""


@dataclass(frozen=True, slots=True)
class Talked(MailEvent):
    """One connection of an attempt over which the message was offered; what became of it is told by recipient."""

    word: ClassVar[str] = "talked"
    is_history_only: ClassVar[bool] = True
    queue_id: str
    host: str
    tls: str = ""


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


@dataclass(frozen=True, slots=True)
class TlsMissing(MailEvent):
    """A host that did TLS before does it no more; told once a day for each host. `before` is what it had."""

    word: ClassVar[str] = "tls-missing"
    is_log_only: ClassVar[bool] = True
    host: str
    before: str


@dataclass(frozen=True, slots=True)
class StsPolicyLearned(MailEvent):
    """A domain's MTA-STS policy was fetched and is new to us, or says something else than before."""

    word: ClassVar[str] = "sts-policy"
    is_log_only: ClassVar[bool] = True
    domain: str
    mode: str
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StsNotFetched(MailEvent):
    """A domain publishes that it has an MTA-STS policy, and the policy cannot be had; what was known stays in force."""

    word: ClassVar[str] = "sts-not-fetched"
    is_log_only: ClassVar[bool] = True
    domain: str
    reason: str


@dataclass(frozen=True, slots=True)
class TlsTrial(MailEvent):
    """A host does not meet its domain's MTA-STS policy, which is in testing: the mail is sent all the same."""

    word: ClassVar[str] = "tls-trial-failed"
    is_log_only: ClassVar[bool] = True
    host: str
    reason: str


@dataclass(frozen=True, slots=True)
class Ipv4First(MailEvent):
    """IPv6 does not serve us (`address_family = "auto"`): for some hours it comes behind IPv4."""

    word: ClassVar[str] = "ipv4-first"
    is_log_only: ClassVar[bool] = True
    reason: str
    for_s: float


@dataclass(frozen=True, slots=True)
class SetAside(MailEvent):
    """A file in the drop folder that is no message, or one that can neither be delivered nor go back.

    `reverse_path` and `recipients` are what it says, as far as it could be read: the addresses are the user's text, and
    without any the sender is its owner.
    """

    word: ClassVar[str] = "set-aside"
    is_trouble: ClassVar[bool] = True
    path: str
    owner: str
    reason: str
    effect: str
    reverse_path: str = field(default="", metadata=_HISTORY)
    recipients: tuple[str, ...] = field(default=(), metadata=_HISTORY)


# --- POP3 -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MaildropClosed(MailEvent):
    """A POP3 session ended in UPDATE or without it."""

    word: ClassVar[str] = "maildrop"
    # The journal has what was done to each message instead.
    is_log_only: ClassVar[bool] = True
    peer: str
    login: str
    retrieved: int
    deleted: int
    remaining: int
    octets_sent: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Fetched(MailEvent):
    """A POP3 client was given one whole message. `file` is the unique part of the file's name."""

    word: ClassVar[str] = "fetched"
    is_history_only: ClassVar[bool] = True
    peer: str
    login: str
    file: str
    octets: int


@dataclass(frozen=True, slots=True)
class Erased(MailEvent):
    """A POP3 client deleted one message for good. `file` is the unique part of the file's name."""

    word: ClassVar[str] = "erased"
    is_history_only: ClassVar[bool] = True
    peer: str
    login: str
    file: str


# --- the process ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Started(MailEvent):
    """The server takes connections."""

    word: ClassVar[str] = "started"
    is_log_only: ClassVar[bool] = True
    hostname: str
    listening: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stopping(MailEvent):
    """The server is asked to stop."""

    word: ClassVar[str] = "stopping"
    is_log_only: ClassVar[bool] = True
    sessions: int


@dataclass(frozen=True, slots=True)
class Reloaded(MailEvent):
    """Something was read anew: accounts, certificates, configuration."""

    word: ClassVar[str] = "reloaded"
    is_log_only: ClassVar[bool] = True
    what: str


@dataclass(frozen=True, slots=True)
class ReloadRefused(MailEvent):
    """Something could not be read anew; what was in force stays in force."""

    word: ClassVar[str] = "reload-refused"
    is_trouble: ClassVar[bool] = True
    is_log_only: ClassVar[bool] = True
    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class DkimKeyChanged(MailEvent):
    """The server found new keys published: they sign from now on (`active`), the old ones no more (`retiring`)."""

    word: ClassVar[str] = "dkim-key"
    is_log_only: ClassVar[bool] = True
    domain: str
    selector: str
    state: str


@dataclass(frozen=True, slots=True)
class Trouble(MailEvent):
    """Something on our side does not work; what it means for mail stands in `effect`."""

    word: ClassVar[str] = "trouble"
    is_trouble: ClassVar[bool] = True
    queue_id: str
    what: str
    reason: str
    effect: str = ""
