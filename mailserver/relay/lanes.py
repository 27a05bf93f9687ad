"""Who is next at each destination: a lane for each, with a limit, and fair turns among them. Pure, in memory.

A *job* is one message's recipients for one destination. New mail (no attempt yet) overtakes what has waited, so a
backlog never delays today's letters; every fifth turn still goes to the backlog, so new mail never starves it.

The limit of a lane starts small and grows by one with each success (slow start); a failure of the destination itself
takes it back to one, so that a dead destination costs one connection and delays nobody else.
"""

from collections import deque

from mailserver.mail.ids import QueueId

_FIRST_WINDOW = 2
_BACKLOG_TURN = 5


class Lane:
    """One destination. `key` is its name in the log; `limit` the configured most at once."""

    __slots__ = ("__weakref__", "_backlog", "_fresh", "_turns", "active", "has_turn", "key", "limit", "window")

    def __init__(self, key: str, limit: int) -> None:
        self.key = key
        self.limit = limit
        self.window = min(limit, _FIRST_WINDOW)
        self.active = 0
        self.has_turn = False  # whether it stands in the line of `Turns`
        self._turns = 0
        self._fresh: deque[Job] = deque()
        self._backlog: deque[Job] = deque()

    @property
    def can_start(self) -> bool:
        """Whether a job waits and may run now."""
        return self.active < self.window and bool(self._fresh or self._backlog)

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
        self.window = min(self.limit, self.window + 1)

    def failed(self) -> None:
        """The destination as a whole did not."""
        self.window = 1


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
    """Lanes that can start a job, in turn. `total` is the most jobs that run at once, all lanes together."""

    __slots__ = ("_line", "active", "total")

    def __init__(self, total: int) -> None:
        self.total = total
        self.active = 0
        self._line: deque[Lane] = deque()

    def offer(self, lane: Lane) -> None:
        """Put the lane into the line if it can start something and is not there."""
        if not lane.has_turn and lane.can_start:
            lane.has_turn = True
            self._line.append(lane)

    def take(self) -> Job | None:
        """The next job to run, counted as active in its lane and in all; None when nothing may start."""
        while self._line and self.active < self.total:
            lane = self._line.popleft()
            lane.has_turn = False
            if not lane.can_start:
                continue
            job = lane.take()
            if job.state is not Job.READY:  # removed while it stood in line
                self.offer(lane)
                continue
            lane.active += 1
            self.active += 1
            self.offer(lane)
            return job
        return None

    def leave_lane(self, lane: Lane) -> None:
        """The job's conversation is over: another may begin it."""
        lane.active -= 1
        self.offer(lane)

    def finish(self) -> None:
        """The job is over, and all that it wrote is on disk."""
        self.active -= 1
