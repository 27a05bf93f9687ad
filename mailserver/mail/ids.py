"""Names we give: queue ids."""

import itertools
from collections.abc import Callable
from typing import NewType

QueueId = NewType("QueueId", str)

# No vowels, no look-alikes: ids are read over the telephone, and never spell a word.
_ALPHABET = "0123456789BCDFGHJKLMNPQRSTVWXYZ"
_DIGITS = frozenset(_ALPHABET)
# Two digits at a time halve the divisions; every message has an id.
_PAIRS = tuple(first + second for first in _ALPHABET for second in _ALPHABET)
_TIME_DIGITS = 11
_COUNT_DIGITS = 2
QUEUE_ID_LENGTH = _TIME_DIGITS + _COUNT_DIGITS


class QueueIds:
    """Makes queue ids: 11 digits of microseconds since the epoch, 2 of a counter, base 31, so they sort by age.

    `now` answers seconds since the epoch. An id is never given twice in a process, not even when the clock steps back.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._last_us = 0
        self._count = itertools.count()

    def __call__(self) -> QueueId:
        """The next id."""
        self._last_us = max(self._last_us + 1, int(self._now() * 1_000_000))
        return QueueId(_digits(self._last_us, _TIME_DIGITS) + _digits(next(self._count), _COUNT_DIGITS))


def is_queue_id(text: str) -> bool:
    """True when `text` could have come from `QueueIds`; so it is also safe as a file name."""
    return len(text) == QUEUE_ID_LENGTH and _DIGITS.issuperset(text)


def number_of(queue_id: QueueId) -> int:
    """The id as a number: as many different ones as there are ids, and they sort alike."""
    number = 0
    for digit in queue_id:
        number = number * len(_ALPHABET) + _ALPHABET.index(digit)
    return number


def made_at(queue_id: QueueId) -> float:
    """When the id was made, seconds since the epoch, as the clock had it then."""
    return number_of(QueueId(queue_id[:_TIME_DIGITS])) / 1_000_000


def _digits(number: int, width: int) -> str:
    out = []
    for _ in range((width + 1) // 2):
        number, pair = divmod(number, len(_PAIRS))
        out.append(_PAIRS[pair])
    out.reverse()
    return "".join(out)[-width:]
