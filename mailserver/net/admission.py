"""Who is connected to a group of listeners, who may still come in, and who has to go when it gets crowded.

Caps per client and in total are `policy.limits.ConnectionLimits`; here are the connections themselves. From 90 % of the
total on, each newcomer takes the place of the stranger that has been silent for longest: otherwise a few hundred
connections that say nothing would keep everybody else out.
"""

from collections.abc import Iterator
from typing import Protocol

from mailserver.mail.peer import Peer
from mailserver.policy.limits import Admission, ConnectionLimits

EVICTED = "idle, and its place was needed"


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
        if self._guests.pop(guest):
            self._limits.release(guest.peer)

    def _make_room(self) -> None:
        # A walk over at most `max_connections` guests for each newcomer, and only while it is crowded.
        idle = [
            guest for guest, holds_place in self._guests.items() if holds_place and guest.is_idle and guest.is_stranger
        ]
        if not idle:
            return
        guest = min(idle, key=_last_heard_at)
        # Its place is free at once: a burst of newcomers is let in before the reactor has closed anything.
        self._guests[guest] = False
        self._limits.release(guest.peer)
        guest.evict(self._busy, EVICTED)


def _last_heard_at(guest: Guest) -> float:
    return guest.last_heard_at
