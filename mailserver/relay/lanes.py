"""Who is next at each destination: a lane for each, with a limit, and fair turns among them. Pure, in memory.

A *job* is one message's recipients for one destination. New mail (no attempt yet) overtakes what has waited, so a
backlog never delays today's letters; every fifth turn still goes to the backlog, so new mail never starves it.

The limit of a lane starts small and grows by one with each success (slow start). When a destination fails as a whole
it is *closed* for a while, twice as long each time: what is due then stands in line, and a single attempt tells whether
it is back. If it is not, that attempt was one for everybody in line (they are *answered* with its outcome, so that the
times of each message are kept without a connection for each); if it is, everybody drains. A failure while others are
being served is no death but a crowd: the lane becomes narrower, and grows slowly from there.

Many dead destinations must not delay the living either, and a dead one may hold an attempt for minutes (tarpits, lost
packets). So lanes in *doubt* (the last attempt failed, or nothing but a backlog is known of them since the start) get
half of the places at most, and an attempt that takes long is *parked*: it goes on, in a place of its own kind.
"""

import heapq
import itertools
from collections import deque
from collections.abc import Iterator

from mailserver.mail.ids import QueueId
from mailserver.mail.outcome import Deferred

_FIRST_WINDOW = 2
_BACKLOG_TURN = 5
# So many times the usual places are there for attempts that take long; each costs little more than a socket.
_PARKED = 3
# One in so many places, besides all others, is for jobs that are answered without a conversation: only our disk works.
_ANSWERED_SHARE = 4
_FIRST_CLOSED_S = 10.0
# So many successes for each place it has make a crowded lane one place wider.
_CROWDED_GROWTH = 8


class Lane:
    """One destination. `key` is its name in the log; `limit` the configured most at once.

    `hopeful` are the jobs that wait for nothing but the destination's return. `down_since` is when it was found not to
    be there; None while it is, or while nothing is known.
    """

    __slots__ = (
        "__weakref__",
        "_answered",
        "_backlog",
        "_failures",
        "_fresh",
        "_growth",
        "_is_crowded",
        "_turns",
        "active",
        "closed_until",
        "down_since",
        "hopeful",
        "is_closed",
        "key",
        "limit",
        "line",
        "window",
    )

    def __init__(self, key: str, limit: int) -> None:
        self.key = key
        self.limit = limit
        self.window = min(limit, _FIRST_WINDOW)
        self.active = 0
        self.line: deque[Lane] | None = None  # the line of `Turns` in which it stands
        self.is_closed = False
        self.closed_until = 0.0
        self.down_since: float | None = None
        self.hopeful: set[Job] = set()
        self._answered: bool | None = None
        self._failures = 0
        self._is_crowded = False
        self._growth = 0  # successes towards the next place of a crowded lane
        self._turns = 0
        self._fresh: deque[Job] = deque()
        self._backlog: deque[Job] = deque()

    @property
    def can_start(self) -> bool:
        """Whether a job waits and may run now."""
        return not self.is_closed and self.active < self.window and bool(self._fresh or self._backlog)

    @property
    def is_doubtful(self) -> bool:
        """Whether it may well be dead: it did not answer, or has not yet and all that waits has been tried before."""
        return not self._fresh if self._answered is None else not self._answered

    def add(self, job: "Job") -> None:
        """A job that is due."""
        (self._backlog if job.attempts else self._fresh).append(job)

    def take(self) -> "Job":
        """The job whose turn it is; only when `can_start`."""
        self._turns += 1
        is_backlog_turn = self._backlog and self._turns % _BACKLOG_TURN == 0
        return (self._backlog if is_backlog_turn or not self._fresh else self._fresh).popleft()

    def take_line(self) -> "Iterator[Job]":
        """Everybody who stands in line, new mail first; the line is empty afterwards."""
        for line in (self._fresh, self._backlog):
            while line:
                job = line.popleft()
                if job.state is Job.READY:
                    yield job

    def succeeded(self) -> bool:
        """The destination took part in an attempt. True: that is news, and what waits for its return may go."""
        # Whom a crowd turned away has a turn again when nobody else stands in line.
        is_news = not self._answered or (self._is_crowded and not (self._fresh or self._backlog))
        self._answered = True
        self._failures = 0
        self.down_since = None
        self.is_closed = False
        self._growth += 1
        if not self._is_crowded or self._growth >= _CROWDED_GROWTH * self.window:
            self._growth = 0
            self.window = min(self.limit, self.window + 1)
        return is_news

    def failed(self, now: float, longest_s: float) -> bool:
        """The destination as a whole did not, in an attempt that is still active. True: it is closed by this.

        It is closed for at most `longest_s`.
        """
        if self._answered and self.active > 1:
            self.window = self.active - 1
            self._is_crowded = True
            return False
        self._answered = False
        self._is_crowded = False
        self.window = 1
        if self.is_closed:  # by another attempt that began with this one
            return False
        self.is_closed = True
        if self.down_since is None:
            self.down_since = now
        self.closed_until = now + min(longest_s, _FIRST_CLOSED_S * 2.0 ** min(self._failures, 20))
        self._failures += 1
        return True

    def expect(self) -> None:
        """The operator believes that the destination is back."""
        self._answered = None
        self.is_closed = False
        self.window = min(self.limit, self.window + 1)


class Entry:
    """One message in the index: as little as possible, for there may be 100,000 (bounded at 1 KiB each by a test).

    `born` is when it arrived, on the monotonic clock. `is_removed`: the operator took it out while it was being tried.
    """

    __slots__ = ("born", "is_removed", "jobs", "queue_id")

    def __init__(self, queue_id: QueueId, born: float) -> None:
        self.queue_id = queue_id
        self.born = born
        self.jobs: tuple[Job, ...] = ()
        self.is_removed = False


class Job:
    """One message's recipients (`recipients`: their places in the envelope) for one lane.

    `due` on the monotonic clock; `planned` is when it would be due if the destination's return had not brought it
    forward. `state` is where the job is; RUNNING is the claim that keeps a message from being sent twice. `is_hopeful`:
    it waits for the destination's return. `answer`: another message's attempt told what becomes of this one as well.
    """

    WAITING, READY, RUNNING, DONE = range(4)

    __slots__ = ("answer", "attempts", "due", "entry", "is_hopeful", "lane", "planned", "recipients", "state")

    def __init__(
        self,
        entry: Entry,
        lane: Lane,
        recipients: tuple[int, ...],
        attempts: int,
        due: float,
        *,
        is_hopeful: bool = False,
    ) -> None:
        self.entry = entry
        self.lane = lane
        self.recipients = recipients
        self.attempts = attempts
        self.due = due
        self.planned = due
        self.is_hopeful = is_hopeful
        self.answer: Deferred | None = None
        self.state = Job.WAITING

    def wait(self) -> None:
        """It waits for its time."""
        self.state = Job.WAITING
        self.answer = None
        if self.is_hopeful:
            self.lane.hopeful.add(self)

    def leave(self, state: int) -> None:
        """It waits no more."""
        self.state = state
        self.lane.hopeful.discard(self)


class Turns:
    """Lanes that can start a job, in turn. `total` is the most jobs that run at once, all lanes together, but for those
    that take long: of these there may be three times as many; and for those that need no conversation."""

    __slots__ = (
        "_active",
        "_answered",
        "_answered_line",
        "_closed",
        "_doubted",
        "_doubtful",
        "_line",
        "_number",
        "_parked",
        "total",
    )

    def __init__(self, total: int) -> None:
        self.total = total
        self._line: deque[Lane] = deque()
        self._doubtful: deque[Lane] = deque()
        self._active: set[Job] = set()
        self._doubted: set[Job] = set()  # those of `_active` whose lane was in doubt when they began
        self._parked: set[Job] = set()
        self._answered: set[Job] = set()
        self._answered_line: deque[Job] = deque()
        self._closed: list[tuple[float, int, Lane]] = []
        self._number = itertools.count()

    @property
    def active(self) -> int:
        """Jobs that run, parked ones included."""
        return len(self._active) + len(self._parked) + len(self._answered)

    def close(self, lane: Lane) -> None:
        """The lane was closed until its time; `reopen` looks for it then."""
        heapq.heappush(self._closed, (lane.closed_until, next(self._number), lane))

    def reopen(self, now: float) -> None:
        """Let the lanes begin again whose time has come."""
        while self._closed and self._closed[0][0] <= now:
            until, _, lane = heapq.heappop(self._closed)
            if lane.is_closed and lane.closed_until == until:
                lane.is_closed = False
            self.offer(lane)

    def next_reopening(self) -> float | None:
        """When the next closed lane may begin again."""
        return self._closed[0][0] if self._closed else None

    def answer(self, job: "Job", answer: Deferred) -> None:
        """The job, which stood in line, is over with this, when its turn comes; it needs no place in its lane."""
        job.answer = answer
        self._answered_line.append(job)

    def offer(self, lane: Lane) -> None:
        """Put the lane into the line where it belongs, if it can start something and is not there."""
        line = self._doubtful if lane.is_doubtful else self._line
        if lane.can_start and lane.line is not line:
            lane.line = line
            line.append(lane)

    def take(self) -> "Job | None":
        """The next job to run, counted as active in its lane and in all; None when nothing may start."""
        while len(self._active) < self.total and (lane := self._next_lane()) is not None:
            is_doubtful = lane.is_doubtful
            job = lane.take()
            if job.state is not Job.READY:  # removed while it stood in line
                self.offer(lane)
                continue
            lane.active += 1
            self._active.add(job)
            if is_doubtful:
                self._doubted.add(job)
            self.offer(lane)
            return job
        return self._take_answered()

    def _take_answered(self) -> "Job | None":
        while self._answered_line and len(self._answered) < max(1, self.total // _ANSWERED_SHARE):
            job = self._answered_line.popleft()
            if job.state is Job.READY:
                self._answered.add(job)
                return job
        return None

    def _next_lane(self) -> Lane | None:
        """Taken out of its line; those without doubt first, the doubtful in half of the places."""
        for line in (self._line, self._doubtful):
            while line and (line is self._line or len(self._doubted) < max(1, self.total // 2)):
                lane = line.popleft()
                if lane.line is not line:  # it stands in the other one by now
                    continue
                lane.line = None
                if not lane.can_start:
                    continue
                if line is self._doubtful or not lane.is_doubtful:
                    return lane
                self.offer(lane)
        return None

    def park(self, job: "Job") -> bool:
        """The job takes long: its place is free for another, as long as there is room for it elsewhere."""
        if job not in self._active or len(self._parked) >= _PARKED * self.total:
            return False
        self._active.remove(job)
        self._doubted.discard(job)
        self._parked.add(job)
        return True

    def leave_lane(self, lane: Lane) -> None:
        """The job's conversation is over: another may begin it."""
        lane.active -= 1
        self.offer(lane)

    def finish(self, job: "Job") -> None:
        """The job is over, and all that it wrote is on disk."""
        for jobs in (self._active, self._doubted, self._parked, self._answered):
            jobs.discard(job)
