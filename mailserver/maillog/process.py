"""The process itself: start, stop, reload, trouble."""

from dataclasses import dataclass
from typing import ClassVar

from mailserver.maillog.event import MailEvent


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
