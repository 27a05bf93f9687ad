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
class CertificateObtained(MailEvent):
    """The first certificate by ACME, or one for other names, is in force. `expires` is a day, `why` the reason."""

    word: ClassVar[str] = "certificate-obtained"
    is_log_only: ClassVar[bool] = True
    names: tuple[str, ...]
    issuer: str
    expires: str
    why: str


@dataclass(frozen=True, slots=True)
class CertificateRenewed(MailEvent):
    """The certificate by ACME was replaced by a newer one for the same names, which is in force."""

    word: ClassVar[str] = "certificate-renewed"
    is_log_only: ClassVar[bool] = True
    names: tuple[str, ...]
    issuer: str
    expires: str
    why: str


@dataclass(frozen=True, slots=True)
class CertificateFailed(MailEvent):
    """No certificate was given. `days_left` is what the one in force still has; None when there is none by ACME."""

    word: ClassVar[str] = "certificate-failed"
    is_trouble: ClassVar[bool] = True
    is_log_only: ClassVar[bool] = True
    names: tuple[str, ...]
    reason: str
    remedy: str
    days_left: int | None
    next_attempt: str


@dataclass(frozen=True, slots=True)
class NeighborDown(MailEvent):
    """A program or service that mail is checked with does not answer as it should; `effect`: what happens meanwhile."""

    word: ClassVar[str] = "neighbor-down"
    is_trouble: ClassVar[bool] = True
    is_log_only: ClassVar[bool] = True
    what: str
    reason: str
    effect: str


@dataclass(frozen=True, slots=True)
class NeighborBack(MailEvent):
    """It works again, after `down_s` seconds."""

    word: ClassVar[str] = "neighbor-back"
    is_log_only: ClassVar[bool] = True
    what: str
    down_s: float


@dataclass(frozen=True, slots=True)
class DoctorLooked(MailEvent):
    """The daily look is over: how many findings of each kind, and which are new or mended (docs/doctor.md)."""

    word: ClassVar[str] = "doctor"
    is_log_only: ClassVar[bool] = True
    passed: int
    warned: int
    failed: int
    unknown: int
    worse: tuple[str, ...] = ()
    mended: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Trouble(MailEvent):
    """Something on our side does not work; what it means for mail stands in `effect`."""

    word: ClassVar[str] = "trouble"
    is_trouble: ClassVar[bool] = True
    queue_id: str
    what: str
    reason: str
    effect: str = ""
