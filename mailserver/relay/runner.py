"""The queue at work: one timer for the earliest due, attempts, what follows from them, the operator's commands.

Order of things, for each attempt: outcome -> state on disk -> event -> reports on disk -> removal on disk, or the next
attempt. So a delivered mark is on disk before the message is tried again, and a message never goes before its bounce.
When all recipients are done and owe nothing, the removal itself is the mark.
"""

from collections.abc import Collection, Iterable
from functools import partial

from twisted.internet.defer import Deferred

from mailserver.mail.address import Mailbox
from mailserver.mail.envelope import Envelope
from mailserver.mail.ids import QueueId
from mailserver.mail.outcome import Deferred as PutOff
from mailserver.mail.outcome import Outcome
from mailserver.maillog import DestinationBack, DestinationDown, Removed
from mailserver.ports import Overloaded, Report, StoredContent
from mailserver.relay.delivery import Delivery
from mailserver.relay.doors import RelayDoors, RelaySettings
from mailserver.relay.lanes import Job
from mailserver.relay.ledger import Ledger
from mailserver.relay.loading import Loader
from mailserver.relay.opened import Opened, OpenMessages
from mailserver.relay.orders import Done, Orders
from mailserver.relay.progress import Moment, after_attempt, is_destination_stage, is_destination_trouble
from mailserver.relay.pump import Pump, Work
from mailserver.relay.queue import Queue, lane_key
from mailserver.relay.removal import Removal
from mailserver.relay.reporting import Reporting
from mailserver.relay.schedule import age_when_taken_up, spread
from mailserver.relay.telling import tell_outcomes, tell_unreadable
from mailserver.store.queue_orders import Choice
from mailserver.store.spool import StoredMessage, untried
from mailserver.store.spool_state import bounded_reply

# Our own disk could not be read, or was too busy: not the message's fault, and no attempt.
_UNREADABLE_RETRY_S = 300.0
_BUSY_RETRY_S = 5.0
# An attempt that takes longer gives up its place among the quick ones, and goes on.
_SLOW_S = 10.0
# More than any number of attempts that a route could depend on.
_MANY_ATTEMPTS = 1_000_000


class RelayRunner:
    """The queue of one server. Construct, `start`, then `load` (it sends while it loads); `stop` at the end."""

    def __init__(self, doors: RelayDoors, settings: RelaySettings) -> None:
        self._doors = doors
        self._settings = settings
        self._ledger = Ledger(doors.spool, doors.blocking, doors.clock, doors.sink, doors.tell_failure)
        self._pump = Pump(doors.clock, self._next_work, lambda: self._queue.next_due(), doors.tell_failure)
        self._queue = Queue(
            doors.find_destination,
            max_per_destination=settings.max_per_destination,
            max_total=settings.max_total,
            wake=self._pump.wake,
        )
        self._open = OpenMessages(doors.spool, doors.blocking)
        self._delivery = Delivery(doors, self._ledger, keeps_transcripts=settings.keeps_transcripts)
        self._reporting = Reporting(doors, settings, self._ledger, self._announce)
        tell_this = partial(tell_unreadable, doors.sink)
        self._orders = Orders(
            doors,
            settings.hold_rules,
            self._ledger,
            self._queue,
            self._open,
            self._finish_ordered,
            tell_this,
        )
        self._removal = Removal(self._ledger, self._queue, doors.sink, self._pump.run)
        self._loader = Loader(doors, self._take_up, tell_this)
        self._loaded: list[Deferred[None]] = []
        # Reports whose message does not say yet that they are there: not sent before it does. None: not read yet.
        self._unmarked: dict[QueueId, StoredMessage | None] = {}
        self.is_loading = False

    # --- life ---------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to send what is due."""
        self._pump.start()

    async def load(self) -> int:
        """Take up what is on disk, in slices; the number of messages. Sending goes on meanwhile. Call it once.

        Damaged files are set aside and told, files of a newer release told and left. Never raises for a file.
        """
        self.is_loading = True
        self._queue.begin_loading()
        try:
            names, count = await self._loader.read_all()
        finally:
            self._queue.end_loading()
            self.is_loading = False
            waiting, self._loaded = self._loaded, []
            for one in waiting:
                one.callback(None)
        if not self._pump.is_stopping:
            await self._loader.sweep(names)
        return count + await self._loader.read_late()

    async def _until_loaded(self) -> None:
        """What the operator asks for concerns all messages that are on disk, and not those that were read so far."""
        if self.is_loading:
            loaded: Deferred[None] = Deferred()
            self._loaded.append(loaded)
            await loaded

    def _take_up(self, message: StoredMessage) -> bool:
        if message.queue_id in self._unmarked:
            self._unmarked[message.queue_id] = message
            return True
        now, monotonic = self._doors.clock.now(), self._doors.clock.monotonic()
        born = monotonic - age_when_taken_up(message.received_at, now)
        schedule_for, recipients = self._settings.schedule_for, message.envelope.recipients
        if not message.has_state and self._orders.is_held_on_entry(message.envelope, message.source):
            return self._enter(message.queue_id, message.source, born)
        is_new = self._queue.loaded(
            message.queue_id,
            message.envelope,
            message.progress,
            born,
            lambda number, at: monotonic + schedule_for(recipients[number]).wait_when_taken_up(at, now),
        )
        owed = {QueueId(one.report) for one in message.progress if one.report and not one.is_reported}
        if is_new and (owed or message.is_done):
            found = [report_id for report_id in owed if self._loader.was_there(report_id)]
            self._unmarked.update(dict.fromkeys(found))
            self._pump.run(self._settle(message.queue_id, found))
        return is_new

    async def stop(self, within_s: float = 10.0) -> None:
        """Begin nothing new; wait for what runs and what is being written, at most this long. Nothing is lost."""
        self._pump.stop()
        self._loader.is_stopping = True
        ended: Deferred[None] = Deferred()

        def end(_: object = None) -> None:
            if not ended.called:
                ended.callback(None)

        timer = self._doors.clock.call_later(within_s, end)
        Deferred.fromCoroutine(self._quiet()).addErrback(self._pump.broken).addCallback(end)
        await ended
        timer.cancel()

    async def _quiet(self) -> None:
        await self._pump.drained()
        await self._ledger.idle()

    # --- in -----------------------------------------------------------------------------------------------------------

    def added(
        self,
        queue_id: QueueId,
        envelope: Envelope,
        received_at: float,
        source: str = "",
        content: StoredContent | None = None,
    ) -> None:
        """A message file was just made durable: it is due now, unless a rule holds it. `source` tells how it came.

        `content`, with its octets, saves reading the file. In the reactor thread; returns at once. The age of a message
        is counted from now, whatever the wall clock says.
        """
        over_cap = self._orders.over_cap(envelope, source)
        if over_cap or self._orders.is_held_on_entry(envelope, source):
            self._enter(queue_id, source, self._doors.clock.monotonic(), over_cap)
        elif self._queue.added(queue_id, envelope, self._doors.clock.monotonic()) and content is not None:
            self._open.remember(untried(queue_id, received_at, envelope, source, content))

    def _enter(self, queue_id: QueueId, source: str, born: float, over_cap: str = "") -> bool:
        """A message that a rule takes, or that is over a cap: nobody is tried before it is written who is held."""
        is_new = self._queue.entered(queue_id, born)
        if is_new:
            self._pump.run(self._orders.hold_on_entry(queue_id, source, over_cap))
        return is_new

    async def spool(self, report: Report) -> None:
        """The `Spooler` door: durable when it answers, and it is tried at once."""
        await self._ledger.add_report(report)
        self._announce(report)

    def _announce(self, report: Report) -> None:
        self.added(report.queue_id, report.envelope, 0.0, report.source)

    # --- one job ------------------------------------------------------------------------------------------------------

    def _next_work(self, now: float) -> Work | None:
        job = self._queue.take(now)
        return None if job is None else self._work(job)

    async def _work(self, job: Job) -> None:
        """One attempt and all that follows. The lane is free again as soon as the conversation is over."""
        is_in_lane = job.answer is None
        queue_id = job.entry.queue_id
        try:
            opened = await self._opened(queue_id, job)
            if opened is None or opened.message is None:
                return
            is_wanted = not job.entry.is_removed
            numbers = [number for number in job.recipients if is_wanted and opened.progress[number].may_be_tried]
            outcomes: dict[int, Outcome]
            if job.answer is not None:
                outcomes = dict.fromkeys(numbers, job.answer)
            else:
                outcomes = await self._attempt(job, opened.message, {n: opened.progress[n].attempts for n in numbers})
                self._queue.turns.leave_lane(job.lane)
                is_in_lane = False
                self._pump.wake()
            await self._conclude(job, opened, opened.message, outcomes)
        except Exception:
            # A fault of ours must not leave the message claimed for ever: it is tried again, later.
            self._queue.put_back(job, self._doors.clock.monotonic() + _UNREADABLE_RETRY_S)
            raise
        finally:
            self._open.close(queue_id)
            if is_in_lane:
                self._queue.turns.leave_lane(job.lane)
            self._queue.turns.finish(job)
            self._pump.wake()
            self._removal.job_is_over(job.entry)

    async def _attempt(self, job: Job, message: StoredMessage, attempts: dict[int, int]) -> dict[int, Outcome]:
        """One conversation, or as many as it takes, and what it says of the destination as a whole."""
        slow = self._doors.clock.call_later(_SLOW_S, lambda: self._park(job))
        try:
            outcomes = await self._delivery.attempt(message, attempts)
        finally:
            slow.cancel()
        troubles = [one for one in outcomes.values() if isinstance(one, PutOff) and is_destination_trouble(one)]
        now = self._doors.clock.monotonic()
        if troubles and len(troubles) == len(outcomes):
            is_news = self._queue.lane_failed(job.lane, troubles[0], now, self._settings.longest_rest_s)
            if is_news:
                reply = "" if troubles[0].reply is None else str(bounded_reply(troubles[0].reply))
                self._doors.sink(DestinationDown(job.lane.key, troubles[0].reason, reply))
        elif outcomes:
            down_s = self._queue.lane_answered(job.lane, now)
            if down_s is not None:
                self._doors.sink(DestinationBack(job.lane.key, down_s))
        return outcomes

    def _park(self, job: Job) -> None:
        if self._queue.turns.park(job):
            self._pump.wake()

    async def _opened(self, queue_id: QueueId, job: Job) -> Opened | None:
        """The message's file in memory; None when there is nothing to send, and what to do about it is done."""
        later = self._doors.clock.monotonic() + _UNREADABLE_RETRY_S
        try:
            opened, trouble = await self._open.open(queue_id)
        except Overloaded:
            self._queue.put_back(job, self._doors.clock.monotonic() + _BUSY_RETRY_S)
            return None
        for item in trouble:
            tell_unreadable(self._doors.sink, item)
        if opened.message is not None:
            return opened
        if any(not item.is_set_aside for item in trouble):
            self._queue.put_back(job, later)
        else:
            self._queue.forget(queue_id)
            if not trouble:
                self._doors.sink(Removed(queue_id, "its file is gone"))
        return None

    async def _conclude(self, job: Job, opened: Opened, message: StoredMessage, outcomes: dict[int, Outcome]) -> None:
        """Write down what became of the recipients, tell it, report it, and plan what comes next."""
        clock, recipients = self._doors.clock, message.envelope.recipients
        monotonic = clock.monotonic()
        age_s = monotonic - job.entry.born
        moment = Moment(clock.now(), age_s, spread(self._doors.random))
        for number, outcome in outcomes.items():
            schedule = self._settings.schedule_for(recipients[number])
            opened.progress[number] = after_attempt(opened.progress[number], outcome, schedule, moment)
            if self._doors.suppression is not None:
                self._doors.suppression.note(message.queue_id, message.envelope.recipients[number].mailbox, outcome)
        self._reporting.assign(opened, message, outcomes)
        delayed = self._reporting.mark_delays(opened, message, age_s)
        if not opened.is_done:
            written = self._ledger.write_state(message.queue_id, opened.snapshot)
            # A mere deferral is not waited for: forgetting it costs an early attempt, while a full disk would hold
            # every place in the queue, and with them the deliveries that free the disk.
            if delayed or any(not opened.progress[number].is_waiting for number in outcomes):
                await written
            else:
                self._open.keep_until(message.queue_id, written)
        tell_outcomes(self._doors.sink, message, opened.snapshot, outcomes, moment, job)
        if delayed and not job.entry.is_removed:
            await self._reporting.send_delays(opened, message, delayed, age_s)
        wanted = {
            number: (one.attempts, monotonic + (one.next_attempt - moment.now))
            for number in job.recipients
            if (one := opened.progress[number]).may_be_tried
        }
        await self._finish(opened, message, age_s)
        hopeful = {number for number in wanted if is_destination_stage(opened.progress[number].stage)}
        self._queue.reschedule(job, message.envelope, wanted, hopeful)

    async def _settle(self, queue_id: QueueId, found: Collection[QueueId]) -> None:
        """Make up for what a crash left undone after the last attempt (`spool`, rows 5 and 6).

        `found` are the reports that were there when loading began; they are sent when this is over.
        """
        try:
            while not await self._try_to_settle(queue_id, found):
                await self._doors.clock.sleep(_BUSY_RETRY_S)
        finally:
            for report_id in found:
                report = self._unmarked.pop(report_id)
                if report is not None:
                    self._take_up(report)

    async def _try_to_settle(self, queue_id: QueueId, found: Collection[QueueId]) -> bool:
        """False: our own disk was too busy."""
        try:
            opened, trouble = await self._open.open(queue_id)
            for item in trouble:
                tell_unreadable(self._doors.sink, item)
            if opened.message is not None:
                age_s = age_when_taken_up(opened.message.received_at, self._doors.clock.now())
                await self._finish(opened, opened.message, age_s, found)
        except Overloaded:
            return False
        finally:
            self._open.close(queue_id)
        return True

    async def _finish_ordered(self, opened: Opened, message: StoredMessage, age_s: float) -> None:
        await self._finish(opened, message, age_s)

    async def _finish(
        self, opened: Opened, message: StoredMessage, age_s: float, found: Collection[QueueId] = ()
    ) -> None:
        """Reports that are owed; then the removal, if nothing is left to do.

        A message that the operator took out owes nothing any more; it goes when the last of its jobs is over.
        """
        queue_id = message.queue_id
        if self._removal.is_removed(queue_id):
            return
        is_marked, reports = await self._reporting.send_due(opened, message, age_s, found)
        try:
            if is_marked and not opened.is_done:
                await self._ledger.write_state(queue_id, opened.snapshot)
            if opened.is_done and not opened.is_removing and not self._removal.is_removed(queue_id):
                opened.is_removing = True
                # Where a report was made the removal is its mark, and no power cut may take that back.
                await (self._ledger.remove if is_marked else self._ledger.remove_delivered)(queue_id)
                self._queue.forget(queue_id)
                self._doors.sink(Removed(queue_id))
        finally:
            for report in reports:
                self._announce(report)

    # --- the operator -------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._queue)

    def oldest_age_s(self) -> float | None:
        """How long the oldest message waits already; None when nothing does. Looks at every message."""
        born = self._queue.oldest_born()
        return None if born is None else self._doors.clock.monotonic() - born

    def running_ids(self) -> list[QueueId]:
        """Messages that are being tried at this moment."""
        return [queue_id for queue_id in self._queue.ids() if self._queue.is_running(queue_id)]

    def retry(self, ids: Iterable[QueueId] | None = None, domain: str = "") -> int:
        """Make these messages due now (all for None), of one domain's recipients if named; how many it concerns."""
        lanes: frozenset[str] = frozenset()
        if domain:
            # How often each was tried decides whether it goes directly or through the smarthost.
            someone = Mailbox("postmaster", domain)
            lanes = frozenset(lane_key(self._doors.find_destination(someone, n)) for n in (0, _MANY_ATTEMPTS))
        chosen = self._queue.ids() if ids is None else ids
        return self._queue.bring_forward(chosen, self._doors.clock.monotonic(), lanes)

    async def retry_when_loaded(self, ids: Iterable[QueueId] | None = None, domain: str = "") -> int:
        """As `retry`, for every message that is on disk, also while they are still being read."""
        await self._until_loaded()
        return self.retry(ids, domain)

    async def hold(self, ids: Iterable[QueueId], choice: Choice, by: str, reason: str) -> Done:
        """Try these recipients no more until they are released; on disk when it answers."""
        await self._until_loaded()
        return await self._orders.hold(ids, choice, by, reason)

    async def release(self, ids: Iterable[QueueId], choice: Choice, by: str) -> Done:
        """Let these recipients be tried again, now; on disk when it answers."""
        await self._until_loaded()
        return await self._orders.release(ids, choice, by)

    async def bounce(self, ids: Iterable[QueueId], choice: Choice, by: str, reason: str) -> Done:
        """Give these recipients up, with a report to the sender; on disk when it answers."""
        await self._until_loaded()
        return await self._orders.bounce(ids, choice, by, reason)

    async def remove(self, ids: Iterable[QueueId]) -> int:
        """Take these messages out without a bounce; durable when it answers, but for one that is being tried just now.

        That one goes when its attempt is over, whatever came of it. How many were known.
        """
        await self._until_loaded()
        return await self._removal.remove(ids)
