"""Reports of others that were read, and our own."""

from dataclasses import dataclass
from typing import ClassVar

from mailserver.maillog.event import MailEvent


@dataclass(frozen=True, slots=True)
class ReportRead(MailEvent):
    """A report that came by mail was read. `kind` is `dmarc` or `tls`, `count` its messages or sessions.

    `proven` is the domain that answers for it; without one it is shown and believed less. `skipped` rows made no sense.
    """

    word: ClassVar[str] = "report-read"
    is_log_only: ClassVar[bool] = True
    queue_id: str
    kind: str
    domain: str
    reporter: str
    count: int
    proven: str = ""
    skipped: int | None = None


@dataclass(frozen=True, slots=True)
class ReportNotRead(MailEvent):
    """What came to the address for reports and looks like one was not counted. It is in the mailbox all the same."""

    word: ClassVar[str] = "report-not-read"
    is_log_only: ClassVar[bool] = True
    queue_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class ReportsSent(MailEvent):
    """Our own reports about a day: how many are on their way, and how many nobody wants or could get."""

    word: ClassVar[str] = "reports-sent"
    is_log_only: ClassVar[bool] = True
    kind: str
    day: str
    sent: int
    unwanted: int
    given_up: int
