"""What a client may take its time for, and for how long (design section 6, `[smtp]` times and `min_rate`).

Bookkeeping only: times are given in monotonic seconds, and nothing here runs a timer.
"""

from dataclasses import dataclass
from enum import Enum

# The floor on the rate of content is looked at once a minute (design section 6, `min_rate`).
RATE_PERIOD_S = 60.0
# A handshake is a matter of two round trips; who draws it out has not said a word yet.
HANDSHAKE_S = 60.0


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds, and `min_rate` in octets a second.

    `command_s` is a deadline for a whole command line (a drip of octets does not draw it out), for silence within
    content, for a TLS handshake (at most `HANDSHAKE_S`), and for a client that does not take our replies.
    """

    command_s: float
    content_s: float
    min_rate: float = 0.0


class TimedOut(Enum):
    """Which deadline passed."""

    COMMAND = "no command came in time"
    SILENCE = "the content stopped coming"
    CONTENT = "the content took too long"
    RATE = "the content came too slowly"
    HANDSHAKE = "the TLS handshake took too long"
    WRITE = "the client does not read our replies"


class Phase(Enum):
    """Whose turn it is."""

    HANDSHAKE = "a TLS handshake is under way"
    WRITING = "the client has to read"
    ANSWERING = "we have to answer"
    READING = "the client has to send"


class Deadlines:
    """The times of one connection."""

    __slots__ = (
        "_content_began",
        "_rate_checked_at",
        "_rate_octets",
        "last_octets_at",
        "phase_began",
        "timeouts",
        "wait_began",
    )

    def __init__(self, timeouts: Timeouts, now: float) -> None:
        self.timeouts = timeouts
        # When the client's turn began, and when its last octets came.
        self.phase_began = self.last_octets_at = now
        # When we began to wait for our own disk.
        self.wait_began = now
        self._content_began: float | None = None
        self._rate_checked_at = now
        self._rate_octets = 0

    @property
    def first_look_s(self) -> float:
        """After how long the clock must be looked at for the first time."""
        return min(self.timeouts.command_s, self.timeouts.content_s, RATE_PERIOD_S)

    def round_ended(self, *, is_in_content: bool) -> None:
        """What had come is answered: a new command line is due from now on, or content has begun or ended."""
        if not is_in_content:
            self.phase_began = self.last_octets_at
            self._content_began = None
        elif self._content_began is None:
            self._content_began = self._rate_checked_at = self.last_octets_at
            self._rate_octets = 0

    def wait_ended(self, now: float) -> None:
        """The time that our disk took is not the client's."""
        self.last_octets_at = now
        if self._content_began is not None:
            self._content_began += now - self.wait_began
            self._rate_checked_at += now - self.wait_began

    def due(self, now: float, phase: Phase, content_octets: int) -> tuple[float, TimedOut]:
        """When the present phase ends, and what it is called then. Checks the floor on the rate once a minute."""
        limits = self.timeouts
        if phase is Phase.HANDSHAKE:
            return self.phase_began + min(limits.command_s, HANDSHAKE_S), TimedOut.HANDSHAKE
        if phase is Phase.WRITING:
            return self.phase_began + limits.command_s, TimedOut.WRITE
        if phase is Phase.ANSWERING:
            return now + limits.command_s, TimedOut.COMMAND
        if self._content_began is None:
            return self.phase_began + limits.command_s, TimedOut.COMMAND
        if now - self._rate_checked_at >= RATE_PERIOD_S:
            if content_octets - self._rate_octets < limits.min_rate * (now - self._rate_checked_at):
                return now, TimedOut.RATE
            self._rate_checked_at, self._rate_octets = now, content_octets
        return min(
            (self.last_octets_at + limits.command_s, TimedOut.SILENCE),
            (self._content_began + limits.content_s, TimedOut.CONTENT),
            key=lambda one: one[0],
        )
