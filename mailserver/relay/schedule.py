"""When a recipient is tried again, when the sender is told of the delay, when we give up. Pure: values in, values out.

Everything here counts in *ages* and *delays*, never in clock times, so that a clock that is set does not matter: the
caller measures with the monotonic clock and reads the wall clock once, when it takes up a message.
"""

from dataclasses import dataclass
from random import Random

# Jitter only ever makes a delay longer: a greylist of five minutes must not see us after four and a half.
JITTER = 0.1
# A float's rounding must not cost a whole further attempt at the moment of expiry.
_TOLERANCE_S = 0.001


@dataclass(frozen=True, slots=True)
class Schedule:
    """The configured times in seconds. `retry` has at least one element; its last one is repeated.

    `delay_notice_after` 0: the sender is never told.
    """

    retry: tuple[float, ...]
    expire_after: float
    delay_notice_after: float

    def delay(self, attempts: int, age_s: float, spread: float) -> float:
        """Seconds until the next attempt after this many attempts (at least one), spread included.

        The last attempt falls on the moment of expiry, so that a bounce is not late by a whole delay.
        """
        assert attempts >= 1, "there is a first attempt before there is a second"
        delay = self.retry[min(attempts, len(self.retry)) - 1] * (1.0 + spread)
        left = self.expire_after - age_s
        return min(delay, left) if left > 0 else delay

    def is_expired(self, age_s: float) -> bool:
        """Whether to give up. Asked only after an attempt, so that no clock alone ever bounces a message."""
        return age_s + _TOLERANCE_S >= self.expire_after

    def is_notice_due(self, age_s: float) -> bool:
        """Whether the sender is to be told that it takes longer."""
        return 0 < self.delay_notice_after <= age_s + _TOLERANCE_S

    def wait_when_taken_up(self, next_attempt: float, now: float) -> float:
        """Seconds to wait for a next attempt that was written down as a clock time.

        Never more than the longest configured delay: a clock that ran ahead when it was written must not hold mail.
        """
        longest = max(self.retry) * (1.0 + JITTER)
        return min(max(0.0, next_attempt - now), longest)


def spread(random: Random) -> float:
    """A share of the delay to add; drawn once for all recipients of a pass, so that they stay together."""
    return random.uniform(0.0, JITTER)


def age_when_taken_up(received_at: float, now: float) -> float:
    """The age of a message read from disk; a time of arrival in the future counts as now."""
    return max(0.0, now - received_at)
