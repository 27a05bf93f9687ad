"""POP3: what was fetched and what was removed."""

from dataclasses import dataclass
from typing import ClassVar

from mailserver.maillog.event import MailEvent


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
    """A POP3 client was given one whole message. `file` is the unique part of the file's name.

    `device` names the app password that the client used, if it was one.
    """

    word: ClassVar[str] = "fetched"
    is_history_only: ClassVar[bool] = True
    peer: str
    login: str
    file: str
    octets: int
    device: str = ""


@dataclass(frozen=True, slots=True)
class Erased(MailEvent):
    """A POP3 client deleted one message for good. `file` and `device` as with `Fetched`."""

    word: ClassVar[str] = "erased"
    is_history_only: ClassVar[bool] = True
    peer: str
    login: str
    file: str
    device: str = ""
