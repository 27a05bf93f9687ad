"""Destinations, hosts and their TLS, as they are met on the way out."""

from dataclasses import dataclass, field
from typing import ClassVar

from mailserver.maillog.event import HISTORY, MailEvent


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
    reverse_path: str = field(default="", metadata=HISTORY)
    recipients: tuple[str, ...] = field(default=(), metadata=HISTORY)
