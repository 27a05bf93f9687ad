"""When a certificate is ordered, and when not yet. Pure: everything is a value, times are seconds since the epoch.

Two wishes meet here: the certificate must never expire, and the authority must not be asked more often than it allows
(Let's Encrypt: five failed validations of a name in an hour, five certificates for the same names in a week).
"""

from dataclasses import dataclass
from enum import Enum

from mailserver.mail.certificate import covers

HOUR_S = 3600.0
DAY_S = 86400.0
# Without better knowledge the rate limit of an authority is over by then.
LIMITED_WAIT_S = DAY_S
# A wait that an authority asks for is believed up to here.
MOST_WAIT_S = 7 * DAY_S
# From here on failures are told louder.
FEW_DAYS = 10


class Reason(Enum):
    """Why a certificate is ordered."""

    NONE_YET = "there is none yet"
    NAMES = "other names are wanted"
    KEY = "another kind of key is wanted"
    AUTHORITY = "another authority is wanted"
    DUE = "it is due for renewal"
    SUGGESTED = "the authority suggests renewal"
    ASKED = "the operator asked for it"


@dataclass(frozen=True, slots=True)
class Standing:
    """The certificate there is."""

    names: tuple[str, ...]
    not_before: float
    not_after: float
    has_wanted_key: bool = True
    is_of_authority: bool = True


@dataclass(frozen=True, slots=True)
class Past:
    """What came of earlier orders. `next_attempt_at`: not before, because the last one failed; 0 when it did not.

    `suggested_at` is when the authority would renew (RFC 9773); 0 when it says nothing.
    """

    failures: int = 0
    next_attempt_at: float = 0.0
    suggested_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Order:
    """Order now."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do before this time."""

    until: float


def renewal_time(standing: Standing, renew_before_s: float) -> float:
    """When a certificate is renewed: so long before its end, and a short-lived one in the last third of its life."""
    lifetime = max(0.0, standing.not_after - standing.not_before)
    return standing.not_after - min(renew_before_s, lifetime / 3)


def decide(
    standing: Standing | None, wanted: tuple[str, ...], past: Past, now: float, renew_before_s: float
) -> Order | Wait:
    """Whether to order now. A failure holds the next order back, whatever the reason for it is.

    A next attempt further away than any wait that was ever asked for means that the clock was set back; it does not
    count.
    """
    due = _due(standing, wanted, past, now, renew_before_s)
    if past.next_attempt_at > now and past.next_attempt_at - now <= MOST_WAIT_S:
        until = past.next_attempt_at
        return Wait(until if isinstance(due, Order) else max(until, due.until))
    return due


def _due(
    standing: Standing | None, wanted: tuple[str, ...], past: Past, now: float, renew_before_s: float
) -> Order | Wait:
    if standing is None:
        return Order(Reason.NONE_YET)
    if not fits(standing.names, wanted):
        return Order(Reason.NAMES)
    if not standing.has_wanted_key:
        return Order(Reason.KEY)
    if not standing.is_of_authority:
        return Order(Reason.AUTHORITY)
    at = renewal_time(standing, renew_before_s)
    if at <= now:
        return Order(Reason.DUE)
    if past.suggested_at and past.suggested_at <= now:
        return Order(Reason.SUGGESTED)
    return Wait(min(at, past.suggested_at) if past.suggested_at else at)


def fits(names: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    """Whether every wanted name is covered. Others may be there: a name taken out of use waits for the next renewal."""
    return all(any(covers(name, one) for name in names) for one in wanted)


def after_failure(past: Past, now: float, asked_wait_s: float | None = None, *, is_limited: bool = False) -> Past:
    """What is remembered after an order that failed: the next attempt in 1 h, 2 h, 4 h ... at most a day.

    `asked_wait_s` is the authority's Retry-After, `is_limited` that it said `rateLimited`. Both only make it later.
    """
    wait = min(HOUR_S * 2 ** min(past.failures, 10), DAY_S)
    if asked_wait_s is not None:
        wait = max(wait, min(asked_wait_s, MOST_WAIT_S))
    elif is_limited:
        wait = max(wait, LIMITED_WAIT_S)
    return Past(past.failures + 1, now + wait, past.suggested_at)


def is_urgent(standing: Standing | None, now: float) -> bool:
    """Whether a failure has to be told louder: less than ten days are left, or a sixth of a short life."""
    if standing is None:
        return False
    lifetime = max(0.0, standing.not_after - standing.not_before)
    return standing.not_after - now < min(FEW_DAYS * DAY_S, lifetime / 6)
