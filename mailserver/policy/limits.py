"""How often somebody may try: guesses at passwords, and connections.

Both are kept per client (`Peer.client`: an IPv4 address or an IPv6 /64), never per account name, so that a stranger
cannot lock anybody out. Both are pure: they take `now` and never sleep.
"""

from dataclasses import dataclass
from enum import Enum
from random import Random, SystemRandom

from mailserver.mail.peer import IpNetwork, Peer

# One wrong password is forgotten after this time, whatever happened since.
FORGET_AFTER_S = 600.0
LONGEST_DELAY_S = 15.0
MAX_CLIENTS_REMEMBERED = 10_000
# A login that failed is answered so many seconds after its check began: drawn anew from this range each time, so that
# neither the time nor its spread tells what was wrong. More than any check takes on a machine that is not overloaded.
FAILURE_ANSWERED_AFTER_S = (0.25, 0.35)


@dataclass(slots=True)
class _Failures:
    count: float
    at: float


class LoginGuesses:
    """Remembers wrong passwords per client and says how long its next login has to wait.

    The wait comes *before* the password is looked at, and is the same for a right one: otherwise a guesser who hangs up
    after half a second would learn as much without waiting. A right password does not wipe out the wrong ones, or
    somebody with an account of their own could guess at others for ever; time does (`FORGET_AFTER_S` for each).
    """

    def __init__(
        self,
        *,
        slow_after: int = 3,
        max_failures: int = 5,
        exempt: tuple[IpNetwork, ...] = (),
        max_clients: int = MAX_CLIENTS_REMEMBERED,
        answered_after_s: tuple[float, float] = FAILURE_ANSWERED_AFTER_S,
        random: Random | None = None,
    ) -> None:
        self._slow_after = slow_after
        self._max_failures = max_failures
        self._exempt = exempt
        self._max_clients = max_clients
        self._answered_after_s = answered_after_s
        self._random = random or SystemRandom()
        self._failures: dict[str, _Failures] = {}  # in the order of the last failure

    @property
    def max_failures(self) -> int:
        """How many wrong passwords end one session."""
        return self._max_failures

    def delay_s(self, peer: Peer, now: float) -> float:
        """How long a login of this client waits before it is looked at; 0.0 for most. `now` in monotonic seconds."""
        if peer.is_in(self._exempt):
            return 0.0
        excess = self._count(peer.client, now) - self._slow_after
        return 0.0 if excess < 0 else min(LONGEST_DELAY_S, 2.0 ** min(excess, 10))

    def failed(self, peer: Peer, now: float) -> None:
        """Note one wrong password."""
        count = self._count(peer.client, now) + 1
        self._failures.pop(peer.client, None)
        if len(self._failures) >= self._max_clients:
            del self._failures[next(iter(self._failures))]
        self._failures[peer.client] = _Failures(count, now)

    def answer_in_s(self, began: float, now: float) -> float:
        """How long the answer to a failed login is still held back; both in monotonic seconds.

        `began` is when its check began. The answer is due at a moment drawn from the range, whatever the check found
        and however quickly. A check that took longer, on a machine under load, is answered at the next multiple of
        that time, so that the time the check took does not show then either.
        """
        due_s = self._random.uniform(*self._answered_after_s)
        if due_s <= 0.0:
            return 0.0
        return due_s - max(0.0, now - began) % due_s

    def _count(self, client: str, now: float) -> int:
        known = self._failures.get(client)
        if known is None:
            return 0
        forgotten = max(0.0, now - known.at) / FORGET_AFTER_S
        left = int(known.count - int(forgotten))
        if left <= 0:
            del self._failures[client]
            return 0
        return left


class Admission(Enum):
    """Whether one more connection is taken."""

    ADMITTED = "admitted"
    TOO_MANY_OF_CLIENT = "too many connections from this client"
    TOO_MANY = "too many connections"


class ConnectionLimits:
    """Counts open connections per client and in all. Every `ADMITTED` is followed by one `release`."""

    def __init__(self, *, max_connections: int, max_per_client: int) -> None:
        self._max_connections = max_connections
        self._max_per_client = max_per_client
        self._by_client: dict[str, int] = {}
        self._total = 0

    @property
    def total(self) -> int:
        """How many are open."""
        return self._total

    @property
    def is_crowded(self) -> bool:
        """True from 90 % of the limit: idle strangers go first, so that there is room for others."""
        return self._total * 10 >= self._max_connections * 9

    def is_at_its_own_limit(self, peer: Peer) -> bool:
        """Whether this client has as many connections as it may have, whatever the others have."""
        return self._by_client.get(peer.client, 0) >= self._max_per_client

    def admit(self, peer: Peer) -> Admission:
        """Count one more connection of `peer`, unless a limit is reached."""
        mine = self._by_client.get(peer.client, 0)
        if mine >= self._max_per_client:
            return Admission.TOO_MANY_OF_CLIENT
        if self._total >= self._max_connections:
            return Admission.TOO_MANY
        self._by_client[peer.client] = mine + 1
        self._total += 1
        return Admission.ADMITTED

    def release(self, peer: Peer) -> None:
        """A connection that was admitted has ended."""
        mine = self._by_client.get(peer.client, 0)
        assert mine > 0, "release without admit"
        self._total -= 1
        if mine == 1:
            del self._by_client[peer.client]
        else:
            self._by_client[peer.client] = mine - 1
