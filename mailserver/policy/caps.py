"""How much an account may send to other servers within 24 hours. Pure.

A stolen password is used for tens of thousands of messages in a night, and afterwards no large receiver takes mail from
this address for weeks. What goes beyond the cap waits until a person has looked at it; nothing is lost.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from mailserver.mail.address import Mailbox

# Counted by the hour, and an hour counts until it is a day old: so what is kept of an account is small.
_HOUR_S = 3600.0
_HOURS = 24
# So many correspondents are remembered of each account; those it has not written to for longest are forgotten first.
MAX_KNOWN = 10_000
_DIGEST_OCTETS = 8


@dataclass(frozen=True, slots=True)
class Limits:
    """Within 24 hours; 0 is no cap."""

    messages: int = 0
    recipients: int = 0
    new_recipients: int = 0


@dataclass(frozen=True, slots=True)
class Amount:
    """What was sent, or is to be: `new_recipients` are those it never wrote to before."""

    messages: int = 0
    recipients: int = 0
    new_recipients: int = 0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(
            self.messages + other.messages,
            self.recipients + other.recipients,
            self.new_recipients + other.new_recipients,
        )


@dataclass(slots=True)
class Usage:
    """What one account has sent: by hour since the epoch, and to whom ever (digests, longest ago first).

    `told_at`: when its owner was last told of a cap, in seconds since the epoch; 0.0 never.
    """

    hours: dict[int, Amount] = field(default_factory=dict)
    known: dict[str, None] = field(default_factory=dict)
    told_at: float = 0.0

    def of_a_day(self, now: float) -> Amount:
        """The sum of the last 24 hours, this one included."""
        total = Amount()
        for amount in (one for hour, one in self.hours.items() if _counts(hour, now)):
            total += amount
        return total

    def asks_for(self, recipients: Iterable[Mailbox]) -> tuple[Amount, list[str]]:
        """What one message to these would add, and the digests of the recipients."""
        digests = list(dict.fromkeys(map(digest, recipients)))
        return Amount(1, len(digests), sum(one not in self.known for one in digests)), digests

    def note(self, amount: Amount, digests: Iterable[str], now: float) -> None:
        """It was sent."""
        hour = int(now // _HOUR_S)
        self.hours = {at: one for at, one in self.hours.items() if _counts(at, now)}
        self.hours[hour] = self.hours.get(hour, Amount()) + amount
        for one in digests:
            self.known.pop(one, None)
            self.known[one] = None
        while len(self.known) > MAX_KNOWN:
            del self.known[next(iter(self.known))]


def _counts(hour: int, now: float) -> bool:
    """Within a day; hours of a clock that was ahead do not count for ever."""
    return 0 <= int(now // _HOUR_S) - hour < _HOURS


def digest(mailbox: Mailbox) -> str:
    """Who it is, without saying so: 16 hexadecimal digits."""
    return hashlib.blake2b(mailbox.folded.encode(), digest_size=_DIGEST_OCTETS).hexdigest()


def why_over(limits: Limits, sent: Amount, more: Amount) -> str:
    """Which cap this much more would break, in words; empty when none."""
    for cap, total, what in (
        (limits.messages, sent.messages + more.messages, "messages"),
        (limits.recipients, sent.recipients + more.recipients, "recipients"),
        (limits.new_recipients, sent.new_recipients + more.new_recipients, "recipients it never wrote to before"),
    ):
        if cap and total > cap:
            return f"more than {cap} {what} within 24 hours"
    return ""
