"""Aimed kills: the moments that clients and sink see, and waiting for one of them."""

import random
import threading

# What is announced, and by whom.
DOT = "after the last octet of a message"
ANSWERED = "after a 250"
QUIT = "after QUIT"
TOOK = "after the next hop took a message"
REFUSED = "after the next hop refused a recipient"
DROPPED = "after a message was dropped"
ORDERED = "after an order of the operator was sent"
ALL = (DOT, ANSWERED, QUIT, TOOK, REFUSED, DROPPED, ORDERED)

# A kill comes so long after its moment at most: the steps on disk that follow take a few milliseconds, the pick-up of a
# dropped message half a second.
_SPREAD_S = {REFUSED: 0.04, TOOK: 0.04, DROPPED: 0.6}
_USUAL_SPREAD_S = 0.02


class Moments:
    """Threads say what they have `reached`; one thread waits for what it has armed."""

    def __init__(self) -> None:
        self._armed = ""
        self._event = threading.Event()

    def reached(self, moment: str) -> None:
        """Cheap when nobody waits for it."""
        if moment == self._armed:
            self._event.set()

    def wait(self, moment: str, limit_s: float) -> bool:
        """Wait until this happens; False when it does not."""
        self._event.clear()
        self._armed = moment
        try:
            return self._event.wait(limit_s)
        finally:
            self._armed = ""


def spread_s(moment: str, chance: random.Random) -> float:
    """How long after the moment to kill."""
    return chance.uniform(0.0, _SPREAD_S.get(moment, _USUAL_SPREAD_S))
