"""A flood of strangers must not become a flood of log lines.

Events that a stranger can make as many of as he likes (refusals, failed logins, broken connections) are written up to a
number for each client and for all together; the rest of the minute is one line that tells how many there were. The same
holds for what users of this machine leave in the drop folder and is no message. What those who log in and our own
server do is always written.
"""

from dataclasses import dataclass, field

from mailserver.maillog import Disconnected, Folded, LoginRefused, MailEvent, Refused, SetAside, Sink
from mailserver.ports import Cancellable, Clock

PERIOD_S = 60.0
# Enough for whoever reads, and for programs that count such lines by address and lock it out.
LINES_PER_CLIENT = 20
LINES_IN_ALL = 300
_MAX_CLIENTS_COUNTED = 1000

_FOLDED: frozenset[type[MailEvent]] = frozenset({Disconnected, LoginRefused, Refused, SetAside})


@dataclass(slots=True)
class _Period:
    """What was written of one word since `began` (monotonic seconds), and what was not."""

    began: float
    written: int = 0
    by_client: dict[str, int] = field(default_factory=dict)
    left_out: int = 0
    left_out_by_client: dict[str, int] = field(default_factory=dict)
    end: Cancellable | None = None


class FoldingSink:
    """A `maillog.Sink` before another one. For the reactor thread; never blocks."""

    def __init__(self, sink: Sink, clock: Clock) -> None:
        self._sink = sink
        self._clock = clock
        self._periods: dict[str, _Period] = {}

    def __call__(self, event: MailEvent) -> None:
        """Write it, or count it."""
        if type(event) not in _FOLDED or self._may_be_written(event):
            self._sink(event)

    def flush(self) -> None:
        """Tell what was left out so far; for the end."""
        for word in list(self._periods):
            self._tell(word)

    def _may_be_written(self, event: MailEvent) -> bool:
        now = self._clock.monotonic()
        period = self._periods.get(event.word)
        if period is None or (period.end is None and now - period.began >= PERIOD_S):
            period = self._periods[event.word] = _Period(now)
        client = _client(event)
        lines = period.by_client.get(client, 0)
        if lines < LINES_PER_CLIENT and period.written < LINES_IN_ALL:
            period.by_client[client] = lines + 1
            period.written += 1
            return True
        period.left_out += 1
        if client in period.left_out_by_client or len(period.left_out_by_client) < _MAX_CLIENTS_COUNTED:
            period.left_out_by_client[client] = period.left_out_by_client.get(client, 0) + 1
        if period.end is None:
            period.end = self._clock.call_later(period.began + PERIOD_S - now, lambda: self._tell(event.word))
        return False

    def _tell(self, word: str) -> None:
        period = self._periods.pop(word)
        if period.end is None:
            return
        period.end.cancel()
        counts = period.left_out_by_client
        most = max(counts, key=lambda client: counts[client])
        self._sink(Folded(word, period.left_out, len(counts), most, counts[most]))


def _client(event: MailEvent) -> str:
    """Whose line it is: an address without its port, or a user of this machine."""
    return event.owner if isinstance(event, SetAside) else getattr(event, "peer", "").rpartition(":")[0]
