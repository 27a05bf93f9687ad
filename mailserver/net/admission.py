"""Who is connected to a group of listeners, who may still come in, and who has to go when it gets crowded.

Caps per client and in total are `policy.limits.ConnectionLimits`; here are the connections themselves. From 90 % of the
total on, each newcomer takes the place of the stranger that has been silent for longest: otherwise a few hundred
connections that say nothing would keep everybody else out.

Content that is on its way is held in memory, half a megabyte at most for each connection, and together it has a bound:
beyond it strangers lose theirs, the oldest first. A thousand contents that begin and never end would fill the machine.

A flood of newcomers must not cost a walk over thousands of guests for each: one walk finds the next few dozen to go.
"""

import heapq
from collections import deque
from collections.abc import Iterator
from typing import Protocol

from mailserver.mail.peer import Peer
from mailserver.policy.limits import Admission, ConnectionLimits

EVICTED = "idle, and its place was needed"
EVICTED_IN_CONTENT = "its content did not end, and the memory was needed"
# Content in memory, of all connections together; what is being committed has a bound of its own (`committer`).
MAX_HELD_OCTETS = 48 << 20
# So many to go are found in one walk; and after one that found nobody, so many newcomers come before the next.
_FOUND_AT_ONCE = 64


class Guest(Protocol):
    """What is asked of a conversation."""

    @property
    def peer(self) -> Peer:
        """The client."""

    @property
    def is_idle(self) -> bool:
        """Whether nothing of value is under way."""

    @property
    def is_stranger(self) -> bool:
        """Whether nobody has logged in."""

    @property
    def is_answering(self) -> bool:
        """Whether something is being worked out for it, such as a commit; it is not to be disturbed then."""

    @property
    def last_heard_at(self) -> float:
        """When the last octets came, in monotonic seconds."""

    def evict(self, words: bytes, why: str) -> None:
        """Say `words` and close; `why` is for the log."""

    def shut_down(self) -> None:
        """Finish what is under way, then say goodbye."""

    def abort(self) -> None:
        """Drop the connection now."""


class GuestList:
    """The open conversations that share one pair of limits. `busy` is the last reply to one that is evicted."""

    def __init__(self, limits: ConnectionLimits, busy: bytes) -> None:
        self._limits = limits
        self._busy = busy
        # The value tells whether a guest still holds its place, or was sent away.
        self._guests: dict[Guest, bool] = {}
        # Who goes next, with the time at which it was heard last: who has spoken since stays.
        self._next_to_go: deque[tuple[float, Guest]] = deque()
        self._walks_spared = 0
        # Octets of content in memory, whose began first at the front.
        self._held: dict[Guest, int] = {}
        self._held_octets = 0

    def __len__(self) -> int:
        return len(self._guests)

    def __iter__(self) -> Iterator[Guest]:
        """All of them; conversations may end while this goes on."""
        return iter(tuple(self._guests))

    def admit(self, peer: Peer) -> Admission:
        """Count one more connection of `peer`, or say why not. An admitted one calls `entered`, and later `left`."""
        if self._limits.is_crowded and not self._limits.is_at_its_own_limit(peer):
            self._make_room()
        return self._limits.admit(peer)

    def entered(self, guest: Guest) -> None:
        """The conversation of an admitted connection begins."""
        self._guests[guest] = True

    def left(self, guest: Guest) -> None:
        """Its connection is gone."""
        self.holds(guest, 0)
        if self._guests.pop(guest):
            self._limits.release(guest.peer)

    def holds(self, guest: Guest, octets: int) -> None:
        """So much of this guest's content is in memory now. Others may have to go for it."""
        before = self._held.pop(guest, 0) if not octets else self._held.get(guest, 0)
        if octets:
            self._held[guest] = octets
        self._held_octets += octets - before
        if self._held_octets > MAX_HELD_OCTETS:
            self._make_memory(guest)

    def _make_memory(self, needed_by: Guest) -> None:
        for guest, octets in tuple(self._held.items()):
            if self._held_octets <= MAX_HELD_OCTETS:
                return
            if guest is not needed_by and guest.is_stranger and not guest.is_answering and self._guests.get(guest):
                self._held_octets -= octets
                del self._held[guest]
                self._send_away(guest, EVICTED_IN_CONTENT)

    def send_away(self, share: float) -> int:
        """Let this share of all idle strangers go, at least one; how many went. For when descriptors run out."""
        self._next_to_go.clear()
        idle = [(guest.last_heard_at, guest) for guest in self._guests if self._may_go(guest)]
        leaving = heapq.nsmallest(max(1, int(len(idle) * share)), idle, key=_heard)
        for _, guest in leaving:
            self._send_away(guest)
        return len(leaving)

    def _make_room(self) -> None:
        guest = self._found()
        if guest is not None:
            self._send_away(guest)

    def _found(self) -> Guest | None:
        while self._next_to_go:
            heard_at, guest = self._next_to_go.popleft()
            if self._may_go(guest) and guest.last_heard_at == heard_at:
                return guest
        if self._walks_spared:
            self._walks_spared -= 1
            return None
        idle = ((guest.last_heard_at, guest) for guest in self._guests if self._may_go(guest))
        # No more than a sixteenth of the house: who is behind may have spoken when its turn comes.
        count = min(_FOUND_AT_ONCE, 1 + len(self._guests) // 16)
        self._next_to_go.extend(heapq.nsmallest(count, idle, key=_heard))
        if self._next_to_go:
            return self._next_to_go.popleft()[1]
        self._walks_spared = min(_FOUND_AT_ONCE, len(self._guests) // 16)
        return None

    def _may_go(self, guest: Guest) -> bool:
        return self._guests.get(guest, False) and guest.is_idle and guest.is_stranger

    def _send_away(self, guest: Guest, why: str = EVICTED) -> None:
        # Its place is free at once: a burst of newcomers is let in before the reactor has closed anything.
        self._guests[guest] = False
        self._limits.release(guest.peer)
        guest.evict(self._busy, why)


def _heard(one: tuple[float, Guest]) -> float:
    return one[0]
