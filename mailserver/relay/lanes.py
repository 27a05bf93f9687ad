"""Who is next at each destination: a lane for each, with a limit, and fair turns among them. Pure, in memory.

A *job* is one message's recipients for one destination. New mail (no attempt yet) overtakes what has waited, so a
backlog never delays today's letters; every fifth turn still goes to the backlog, so new mail never starves it.

The limit of a lane starts small and grows by one with each success (slow start); a failure of the destination itself
takes it back to one, so that a dead destination costs one connection and delays nobody else.

Many dead destinations must not delay the living either, and a dead one may hold an attempt for minutes (tarpits, lost
packets). So lanes in *doubt* (the last attempt failed, or nothing but a backlog is known of them since the start) get
half of the places at most, and an attempt that takes long is *parked*: it goes on, in a place of its own kind.
"""

from collections import deque

from mailserver.mail.ids import QueueId

_FIRST_WINDOW = 2
_BACKLOG_TURN = 5
# So many times the usual places are there for attempts that take long; each costs little more than a socket.
_PARKED = 3


class Lane:
    """One destination. `key` is its name in the log; `limit` the configured most at once."""

    __slots__ = ("__weakref__", "_answered", "_backlog", "_fresh", "_turns", "active", "key", "limit", "line", "window")

    def __init__(self, key: str, limit: int) -> None:
        self.key = key
        self.limit = limit
        self.window = min(limit, _FIRST_WINDOW)
        self.active = 0
        self.line: deque[Lane] | None = None  # the line of `Turns` in which it stands
        self._answered: bool | None = None
        self._turns = 0
        self._fresh: deque[Job] = deque()
        self._backlog: deque[Job] = deque()

    @property
    def can_start(self) -> bool:
        """Whether a job waits and may run now."""
        return self.active < self.window and bool(self._fresh or self._backlog)

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

    def succeeded(self) -> None:
        """The destination took part in an attempt."""
        self._answered = True
        self.window = min(self.limit, self.window + 1)

    def failed(self) -> None:
        """The destination as a whole did not."""
        self._answered = False
        self.window = 1

    def expect(self) -> None:
        """The operator believes that the destination is back."""
        self._answered = None
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

    `due` on the monotonic clock. `state` is where the job is; RUNNING is the claim that keeps a message from being sent
    twice.
    """

    WAITING, READY, RUNNING, DONE = range(4)

    __slots__ = ("attempts", "due", "entry", "lane", "recipients", "state")

    def __init__(self, entry: Entry, lane: Lane, recipients: tuple[int, ...], attempts: int, due: float) -> None:
        self.entry = entry
        self.lane = lane
        self.recipients = recipients
        self.attempts = attempts
        self.due = due
        self.state = Job.WAITING


class Turns:
    """Lanes that can start a job, in turn. `total` is the most jobs that run at once, all lanes together, but for those
    that take long: of these there may be three times as many."""

    __slots__ = ("_active", "_doubted", "_doubtful", "_line", "_parked", "total")

    def __init__(self, total: int) -> None:
        self.total = total
        self._line: deque[Lane] = deque()
        self._doubtful: deque[Lane] = deque()
        self._active: set[Job] = set()
        self._doubted: set[Job] = set()  # those of `_active` whose lane was in doubt when they began
        self._parked: set[Job] = set()

    @property
    def active(self) -> int:
        """Jobs that run, parked ones included."""
        return len(self._active) + len(self._parked)

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
        for jobs in (self._active, self._doubted, self._parked):
            jobs.discard(job)
