"""What becomes of a message in the queue, and who had a hand in it."""

from dataclasses import dataclass, field
from typing import ClassVar

from mailserver.maillog.event import HISTORY, MailEvent


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
    destination: str = field(default="", metadata=HISTORY)
    # Whether another message's attempt told it: the destination as a whole was not there.
    is_shared: bool = field(default=False, metadata=HISTORY)


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
    stage: str = field(default="", metadata=HISTORY)


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
