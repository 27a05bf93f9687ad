"""What became of one recipient in one attempt.

Four words and no others: delivered, deferred, bounced, expired. "Unknown trouble is temporary": whoever cannot name
what happened answers `Deferred`.
"""

from dataclasses import dataclass
from enum import Enum

from mailserver.mail.reply import Reply


class Stage(Enum):
    """How far an attempt came; a cheap hint at the cause."""

    DNS = "dns"
    CONNECT = "connect"
    BANNER = "banner"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    EOD = "eod"
    LOCAL = "local"


@dataclass(frozen=True, slots=True)
class Delivered:
    """The next hop (or the Maildir) has it. `reply` is the next hop's word; None for local delivery.

    `dsn_passed_on` tells that the next hop promised DSN, so that a success report is its business (RFC 3461 5.2.2).
    `tls` is what protected the way there, such as `TLSv1.3`; empty for none. `file` is the unique part of the file's
    name in a Maildir, `folder` the folder of the mailbox it is in; empty for the inbox.
    """

    reply: Reply | None = None
    host: str = ""
    dsn_passed_on: bool = False
    tls: str = ""
    file: str = ""
    folder: str = ""


@dataclass(frozen=True, slots=True)
class Deferred:
    """Try again later. `reason` is our own plain sentence; `reply` the other side's words when there were any."""

    reason: str
    stage: Stage
    reply: Reply | None = None
    host: str = ""


@dataclass(frozen=True, slots=True)
class Bounced:
    """Permanently refused: no unchanged retry can help. `enhanced` is for the DSN's Status field (RFC 3464 2.3.4)."""

    reason: str
    stage: Stage
    enhanced: str
    reply: Reply | None = None
    host: str = ""


Outcome = Delivered | Deferred | Bounced
