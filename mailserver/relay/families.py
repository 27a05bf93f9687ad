"""Whether IPv6 serves us, for `address_family = "auto"`. Pure: what was seen and `now` in, what is believed out.

Many machines have an IPv6 address that leads nowhere, or one without a reverse name, for which large receivers refuse
all mail. Nobody should have to find that out: IPv6 is put behind IPv4 for some hours when either

- IPv6 led nowhere to several hosts that IPv4 reached within the hour (one host alone may have a fault of its own, and
  a connection that was *refused* did arrive), or
- a host said that our IPv6 address has no reverse name, or that it will not have mail from it for that reason.

IPv6 is then still tried where there is nothing else, and again by everybody when the hours are over.
"""

from dataclasses import dataclass, replace
from enum import Enum

from mailserver.mail.outcome import Bounced, Deferred, Outcome
from mailserver.policy.causes.names import Cause

HOSTS_TO_BELIEVE = 3
SEEN_WITHIN_S = 3600.0
LEADS_NOWHERE_FOR_S = 4 * 3600.0
NO_NAME_FOR_S = 24 * 3600.0
_MOST_HOSTS = 50


class Sight(Enum):
    """What an attempt showed of one address family at one host."""

    IPV6_NOWHERE = "ipv6 nowhere"
    IPV6_WORKS = "ipv6 works"
    IPV4_WORKS = "ipv4 works"
    IPV6_NAMELESS = "ipv6 nameless"


@dataclass(frozen=True, slots=True)
class Families:
    """What is remembered: for host names when IPv6 led nowhere and when IPv4 reached them; until when IPv4 is first."""

    nowhere: tuple[tuple[str, float], ...] = ()
    reached: tuple[tuple[str, float], ...] = ()
    ipv4_first_until: float = 0.0
    reason: str = ""

    def prefers_ipv4(self, now: float) -> bool:
        """Whether IPv4 addresses come first."""
        return now < self.ipv4_first_until


def after(before: Families, sight: Sight, host: str, now: float) -> Families:
    """What is believed after one more sight of `host` (a host's name, not its address). `now` is monotonic."""
    if sight is Sight.IPV6_NAMELESS:
        reason = f"{host} says that our IPv6 address has no reverse name"
        return replace(before, ipv4_first_until=max(before.ipv4_first_until, now + NO_NAME_FOR_S), reason=reason)
    if sight is Sight.IPV6_WORKS:
        # It leads somewhere after all; what a host said of our name stays true.
        return replace(before, nowhere=(), reached=())
    if sight is Sight.IPV6_NOWHERE:
        before = replace(before, nowhere=_noted(before.nowhere, host, now))
    elif any(name == host for name, _ in before.nowhere):  # others are of no interest
        before = replace(before, reached=_noted(before.reached, host, now))
    both = {name for name, _ in _recent(before.nowhere, now)} & {name for name, _ in _recent(before.reached, now)}
    if len(both) < HOSTS_TO_BELIEVE:
        return before
    reason = f"IPv6 led nowhere and IPv4 did to {len(both)} hosts, among them {min(both)}"
    return Families((), (), max(before.ipv4_first_until, now + LEADS_NOWHERE_FOR_S), reason)


def is_about_our_name(outcome: Outcome) -> bool:
    """Whether a host refused us for the missing reverse name of the address we came from."""
    if not isinstance(outcome, Bounced | Deferred) or outcome.reply is None:
        return False
    # As in `diagnosis`: no start waits for it.
    from mailserver.policy.causes.classify import classify_outcome

    return classify_outcome(outcome).cause in (Cause.NO_REVERSE_DNS, Cause.REVERSE_DNS_IPV6)


def _recent(seen: tuple[tuple[str, float], ...], now: float) -> tuple[tuple[str, float], ...]:
    return tuple((host, at) for host, at in seen if now - at < SEEN_WITHIN_S)


def _noted(seen: tuple[tuple[str, float], ...], host: str, now: float) -> tuple[tuple[str, float], ...]:
    others = tuple((name, at) for name, at in _recent(seen, now) if name != host)
    return (*others, (host, now))[-_MOST_HOSTS:]
