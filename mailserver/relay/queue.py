"""The queue's index: which messages there are, which jobs are due, who has claimed what. In memory, no disk, no await.

A message gets in by `added` (it was just made durable) or by `loaded` (it was on disk at start). Both may name the same
message, in any order; it is indexed once, and a message that was finished while the loading ran is not taken up again
although the loader had read its file before.

All times here are on the monotonic clock, so that setting the clock neither bounces nor delays anything.
"""

import heapq
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from weakref import WeakValueDictionary

from mailserver.mail.envelope import Envelope
from mailserver.mail.ids import QueueId
from mailserver.mail.outcome import Deferred
from mailserver.ports import Destination, FindDestination, LocalMailboxes, NoDestination
from mailserver.relay.lanes import Entry, Job, Lane, Turns
from mailserver.relay.progress import is_destination_stage
from mailserver.store.spool_state import Progress

LOCAL_LANE = "local"
# Local jobs only wait for our own disk.
_LOCAL_LIMIT = 4
# Recipients of one destination whose times differ by less than this share of the wait are tried together.
_TOGETHER_S = 60.0


def lane_key(destination: Destination) -> str:
    """The name of the lane that a destination's jobs wait in."""
    return LOCAL_LANE if isinstance(destination, LocalMailboxes | NoDestination) else str(destination)


class Queue:
    """The index. `wake` is called when something may have become due."""

    def __init__(
        self, find_destination: FindDestination, *, max_per_destination: int, max_total: int, wake: Callable[[], None]
    ) -> None:
        self._find_destination = find_destination
        self._max_per_destination = max_per_destination
        self._wake = wake
        self._entries: dict[QueueId, Entry] = {}
        # Lanes live as long as a job knows them.
        self._lanes: WeakValueDictionary[str, Lane] = WeakValueDictionary()
        self._due: list[tuple[float, int, Job]] = []
        self._number = itertools.count()
        self._finished_while_loading: set[QueueId] | None = None
        self.turns = Turns(max_total)

    # --- in -----------------------------------------------------------------------------------------------------------

    def begin_loading(self) -> None:
        """From now on remember what is finished, until `end_loading`: the loader may have read it before."""
        self._finished_while_loading = set()

    def end_loading(self) -> None:
        """Everything that was on disk at start has been given to `loaded`."""
        self._finished_while_loading = None

    def added(self, queue_id: QueueId, envelope: Envelope, now: float) -> bool:
        """A message that was just made durable; all its jobs are due. False when it is known already."""
        if queue_id in self._entries:
            return False
        entry = Entry(queue_id, now)
        self._index(entry, envelope, dict.fromkeys(range(len(envelope.recipients)), (0, now)))
        return True

    def loaded(
        self,
        queue_id: QueueId,
        envelope: Envelope,
        progress: Progress,
        born: float,
        due: Callable[[int, float], float],
    ) -> bool:
        """A message from disk; False when it is known or finished. `due` makes clock times monotonic ones.

        It is given the recipient's place in the envelope, and the time.
        """
        if queue_id in self._entries or queue_id in (self._finished_while_loading or ()):
            return False
        wanted = {
            number: (one.attempts, due(number, one.next_attempt))
            for number, one in enumerate(progress)
            if one.may_be_tried
        }
        hopeful = {number for number in wanted if is_destination_stage(progress[number].stage)}
        self._index(Entry(queue_id, born), envelope, wanted, hopeful)
        return True

    def entered(self, queue_id: QueueId, born: float) -> bool:
        """A message for which nothing is to be tried before `replan`; False when it is known or finished."""
        if queue_id in self._entries or queue_id in (self._finished_while_loading or ()):
            return False
        self._entries[queue_id] = Entry(queue_id, born)
        return True

    def _index(
        self,
        entry: Entry,
        envelope: Envelope,
        wanted: dict[int, tuple[int, float]],
        hopeful: Collection[int] = (),
    ) -> None:
        self._entries[entry.queue_id] = entry
        entry.jobs = tuple(self._jobs(entry, envelope, wanted, hopeful))
        for job in entry.jobs:
            self._push(job)
        self._wake()

    def _jobs(
        self,
        entry: Entry,
        envelope: Envelope,
        wanted: dict[int, tuple[int, float]],
        hopeful: Collection[int] = (),
    ) -> Iterator[Job]:
        """One job for each destination, and within it for recipients whose times lie far apart.

        Those who wait for the destination's return are apart from those whom it asked to wait themselves.
        """
        groups: dict[tuple[str, bool], list[int]] = {}
        for number in wanted:
            key = lane_key(self._find_destination(envelope.recipients[number].mailbox, wanted[number][0]))
            groups.setdefault((key, number in hopeful), []).append(number)
        for (key, is_hopeful), numbers in groups.items():
            numbers.sort(key=lambda number: wanted[number][1])
            start = 0
            for end in range(1, len(numbers) + 1):
                first = wanted[numbers[start]][1]
                if end == len(numbers) or wanted[numbers[end]][1] - first > _TOGETHER_S:
                    together = numbers[start:end]
                    attempts = min(wanted[number][0] for number in together)
                    latest = max(wanted[number][1] for number in together)
                    places = tuple(sorted(together))
                    yield Job(entry, self._lane(key), places, attempts, latest, is_hopeful=is_hopeful)
                    start = end

    def _lane(self, key: str) -> Lane:
        lane = self._lanes.get(key)
        if lane is None:
            limit = min(_LOCAL_LIMIT, self._max_per_destination) if key == LOCAL_LANE else self._max_per_destination
            lane = self._lanes[key] = Lane(key, limit)
        return lane

    def _push(self, job: Job) -> None:
        job.wait()
        heapq.heappush(self._due, (job.due, next(self._number), job))

    # --- out ----------------------------------------------------------------------------------------------------------

    def take(self, now: float) -> Job | None:
        """The next job to run now, claimed; None when nothing may start."""
        self.turns.reopen(now)
        while self._due and self._due[0][0] <= now:
            due, _, job = heapq.heappop(self._due)
            if job.state is Job.WAITING and job.due == due:  # else it was moved or removed
                job.leave(Job.READY)
                job.lane.add(job)
                self.turns.offer(job.lane)
        claimed = self.turns.take()
        if claimed is not None:
            claimed.state = Job.RUNNING
        return claimed

    def next_due(self) -> float | None:
        """When there may be something to do: the earliest waiting job, or a closed lane that may begin again."""
        reopening = self.turns.next_reopening()
        while self._due:
            due, _, job = self._due[0]
            if job.state is Job.WAITING and job.due == due:
                return due if reopening is None else min(due, reopening)
            heapq.heappop(self._due)
        return reopening

    # --- after an attempt ---------------------------------------------------------------------------------------------

    def lane_answered(self, lane: Lane, now: float) -> float | None:
        """An attempt showed that the destination is there: what waits for nothing else is due now, in order.

        For how many seconds it was down; None when it was not.
        """
        down_since = lane.down_since
        if lane.succeeded():
            for job in sorted(lane.hopeful, key=lambda one: (one.entry.born, one.entry.queue_id)):
                job.due = now
                self._push(job)
        return None if down_since is None else now - down_since

    def lane_failed(self, lane: Lane, why: Deferred, now: float, longest_s: float) -> bool:
        """An attempt showed that the destination as a whole is not there: it rests for at most `longest_s`.

        Everybody in line has had an attempt with that, but for those who would not be due without a hope that failed.
        True: that it is down is news.
        """
        was_up = lane.down_since is None
        if not lane.failed(now, longest_s):
            return False
        self.turns.close(lane)
        for job in lane.take_line():
            if job.planned > now:
                job.due = job.planned
                self._push(job)
            else:
                self.turns.answer(job, why)
        return was_up

    def reschedule(
        self, job: Job, envelope: Envelope, wanted: dict[int, tuple[int, float]], hopeful: Collection[int] = ()
    ) -> None:
        """Replace a job that has run by jobs for these recipients (place -> attempts, due); none for an empty one.

        Nor for a message that was withdrawn meanwhile. `hopeful` are those who wait for the destination's return.
        """
        entry = job.entry
        job.leave(Job.DONE)
        rest = tuple(other for other in entry.jobs if other is not job)
        fresh = () if entry.is_removed else tuple(self._jobs(entry, envelope, wanted, hopeful))
        entry.jobs = rest + fresh
        for other in fresh:
            self._push(other)
        self._wake()

    def replan(self, queue_id: QueueId, envelope: Envelope, attempts: Mapping[int, int], now: float) -> None:
        """The operator changed who is to be tried: those in `attempts` (place -> attempts so far) and nobody else.

        Who had a time keeps it, others are due now. A job that runs is left alone; `reschedule` follows it.
        """
        entry = self._entries.get(queue_id)
        if entry is None or entry.is_removed:
            return
        running = tuple(job for job in entry.jobs if job.state is Job.RUNNING)
        taken = {number for job in running for number in job.recipients}
        times: dict[int, float] = {}
        hopeful: set[int] = set()
        for job in entry.jobs:
            if job.state is not Job.RUNNING:
                times.update(dict.fromkeys(job.recipients, job.due))
                hopeful.update(job.recipients if job.is_hopeful else ())
                job.leave(Job.DONE)
        wanted = {number: (tries, times.get(number, now)) for number, tries in attempts.items() if number not in taken}
        fresh = tuple(self._jobs(entry, envelope, wanted, hopeful))
        entry.jobs = running + fresh
        for job in fresh:
            self._push(job)
        self._wake()

    def put_back(self, job: Job, due: float) -> None:
        """The attempt could not be made (our own disk): the same job again, later, unless it was withdrawn."""
        if job.entry.is_removed:
            job.leave(Job.DONE)
            return
        job.due = job.planned = due
        self._push(job)
        self._wake()

    def withdraw(self, queue_id: QueueId) -> None:
        """The operator takes the message out: no further attempt begins."""
        entry = self._entries.get(queue_id)
        if entry is not None:
            entry.is_removed = True
            for job in entry.jobs:
                if job.state is not Job.RUNNING:
                    job.leave(Job.DONE)

    def forget(self, queue_id: QueueId) -> None:
        """The message is gone from the disk, or will be in a moment."""
        entry = self._entries.pop(queue_id, None)
        if entry is not None:
            for job in entry.jobs:
                job.leave(Job.DONE)
            entry.jobs = ()
        if self._finished_while_loading is not None:
            self._finished_while_loading.add(queue_id)

    # --- looking, and the operator's hand -----------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, queue_id: QueueId) -> bool:
        return queue_id in self._entries

    def ids(self) -> list[QueueId]:
        """All messages, in no order."""
        return list(self._entries)

    def oldest_born(self) -> float | None:
        """When the oldest message arrived, on the monotonic clock; None when nothing waits. Looks at every message."""
        return min((entry.born for entry in self._entries.values()), default=None)

    def entry(self, queue_id: QueueId) -> Entry | None:
        """One message."""
        return self._entries.get(queue_id)

    def is_running(self, queue_id: QueueId) -> bool:
        """Whether an attempt is under way."""
        entry = self._entries.get(queue_id)
        return entry is not None and any(job.state is Job.RUNNING for job in entry.jobs)

    def running_recipients(self, queue_id: QueueId) -> set[int]:
        """The places of the recipients for whom an attempt is under way."""
        entry = self._entries.get(queue_id)
        jobs = () if entry is None else entry.jobs
        return {number for job in jobs if job.state is Job.RUNNING for number in job.recipients}

    def bring_forward(self, ids: Iterable[QueueId], now: float, lanes: frozenset[str] = frozenset()) -> int:
        """Make waiting jobs of these messages due now (of these lanes only, if named); how many messages that were.

        The lane's window is opened too: who asks for a retry believes that the destination is back.
        """
        count = 0
        for queue_id in ids:
            entry = self._entries.get(queue_id)
            if entry is None or entry.is_removed:
                continue
            jobs = [job for job in entry.jobs if not lanes or job.lane.key in lanes]
            for job in jobs:
                job.lane.expect()
                self.turns.offer(job.lane)
                if job.state is Job.WAITING:
                    job.due = job.planned = now
                    self._push(job)
            count += bool(jobs)
        self._wake()
        return count
