"""Who connects and who logs in."""

from dataclasses import dataclass
from typing import ClassVar

from mailserver.maillog.event import MailEvent


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
    """Somebody proved who they are. `device` names the app password, empty for the account's own."""

    word: ClassVar[str] = "login"
    # A mail program that polls makes one each minute; what it then does has events of its own.
    is_log_only: ClassVar[bool] = True
    peer: str
    service: str
    login: str
    mechanism: str
    tls: str = ""
    device: str = ""


@dataclass(frozen=True, slots=True)
class LoginRefused(MailEvent):
    """A login that did not succeed; the login name is the peer's text."""

    word: ClassVar[str] = "login-refused"
    peer: str
    service: str
    login: str
    mechanism: str
    reason: str = ""
