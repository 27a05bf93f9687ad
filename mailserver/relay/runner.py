"""The queue at work: one timer for the earliest due, attempts, what follows from them, the operator's commands.

Order of things, for each attempt: outcome -> state on disk -> event -> reports on disk -> removal on disk, or the next
attempt. So a delivered mark is on disk before the message is tried again, and a message never goes before its bounce.
When all recipients are done and owe nothing, the removal itself is the mark.
"""

from collections.abc import Awaitable, Coroutine, Iterable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mailserver.mail.address import Mailbox
from mailserver.mail.envelope import Envelope
from mailserver.mail.ids import QueueId
from mailserver.mail.outcome import Deferred as PutOff
from mailserver.mail.outcome import Delivered, Outcome
from mailserver.mail.trace import OUR_OWN
from mailserver.maillog import BouncedEvent, DeferredEvent, Filed, QueueFileDamaged, Removed, Sent, Trouble
from mailserver.ports import Cancellable, Overloaded, Report
from mailserver.relay.delivery import Delivery
from mailserver.relay.doors import RelayDoors, RelaySettings
from mailserver.relay.lanes import Entry, Job
from mailserver.relay.ledger import Ledger
from mailserver.relay.loading import Loader
from mailserver.relay.opened import Opened, OpenMessages
from mailserver.relay.orders import Done, Orders
from mailserver.relay.progress import Moment, after_attempt, is_destination_stage, is_destination_trouble
from mailserver.relay.queue import Queue, lane_key
from mailserver.relay.reporting import Reporting
from mailserver.relay.schedule import age_when_taken_up
from mailserver.store.queue_orders import Choice
from mailserver.store.spool import StoredMessage, Unreadable
from mailserver.store.spool_state import Progress, RecipientState

# Our own disk could not be read, or was too busy: not the message's fault, and no attempt.
_UNREADABLE_RETRY_S = 300.0
_BUSY_RETRY_S = 5.0
# An attempt that takes longer gives up its place among the quick ones, and goes on.
_SLOW_S = 10.0
# A timer never sleeps longer than this, whatever it was told.
_LONGEST_SLEEP_S = 3600.0
# More than any number of attempts that a route could depend on.
_MANY_ATTEMPTS = 1_000_000


class RelayRunner:
    """The queue of one server. Construct, `start`, then `load` (it sends while it loads); `stop` at the end."""

    def __init__(self, doors: RelayDoors, settings: RelaySettings) -> None:
        self._doors = doors
        self._settings = settings
        self._ledger = Ledger(doors.spool, doors.blocking, doors.clock, doors.sink, doors.tell_failure)
        self._queue = Queue(
            doors.find_destination,
            max_per_destination=settings.max_per_destination,
            max_total=settings.max_total,
            wake=self._wake,
        )
        self._open = OpenMessages(doors.spool, doors.blocking)
        self._delivery = Delivery(doors, self._ledger, self._announce, keeps_transcripts=settings.keeps_transcripts)
        self._reporting = Reporting(doors, settings, self._ledger, self._announce)
        self._orders = Orders(
            doors,
            settings.hold_rules,
            self._ledger,
            self._queue,
            self._open,
            self._finish_ordered,
            self._tell_unreadable,
        )
        self._loader = Loader(doors, self._take_up, self._tell_unreadable)
        self._loaded: list[Deferred[None]] = []
        self._timer: Cancellable | None = None
        self._wakes_at = 0.0
        self._is_started = False
        self._is_stopping = False
        self._running = 0
        self._drained: list[Deferred[None]] = []
        self.is_loading = False

    # --- life ---------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to send what is due."""
        self._is_started = True
        self._wake()

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
        if not self._is_stopping:
            await self._loader.sweep(names)
        return count + await self._loader.read_late()

    async def _until_loaded(self) -> None:
        """What the operator asks for concerns all messages that are on disk, and not those that were read so far."""
        if self.is_loading:
            loaded: Deferred[None] = Deferred()
            self._loaded.append(loaded)
            await loaded

    def _take_up(self, message: StoredMessage) -> bool:
        now, monotonic = self._doors.clock.now(), self._doors.clock.monotonic()
        born = monotonic - age_when_taken_up(message.received_at, now)
        schedule = self._settings.schedule
        if not message.has_state and self._orders.is_held_on_entry(message.envelope, message.source):
            return self._enter(message.queue_id, message.source, born)
        is_new = self._queue.loaded(
            message.queue_id,
            message.envelope,
            message.progress,
            born,
            lambda next_attempt: monotonic + schedule.wait_when_taken_up(next_attempt, now),
        )
        owes = any(not one.is_waiting and not one.is_done for one in message.progress)
        if is_new and (owes or message.is_done):
            self._run(self._settle(message.queue_id))
        return is_new

    async def stop(self, within_s: float = 10.0) -> None:
        """Begin nothing new; wait for what runs and what is being written, at most this long. Nothing is lost."""
        self._is_stopping = True
        self._loader.is_stopping = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        ended: Deferred[None] = Deferred()

        def end(_: object = None) -> None:
            if not ended.called:
                ended.callback(None)

        timer = self._doors.clock.call_later(within_s, end)
        Deferred.fromCoroutine(self._quiet()).addErrback(self._broken).addCallback(end)
        await ended
        timer.cancel()

    async def _quiet(self) -> None:
        if self._running:
            drained: Deferred[None] = Deferred()
            self._drained.append(drained)
            await drained
        await self._ledger.idle()

    # --- in -----------------------------------------------------------------------------------------------------------

    def added(self, queue_id: QueueId, envelope: Envelope, received_at: float, source: str = "") -> None:
        """A message file was just made durable: it is due now, unless a rule holds it. `source` tells how it came.

        In the reactor thread; returns at once.
        """
        del received_at  # it is new: its age is counted from now, whatever the wall clock says
        if self._orders.is_held_on_entry(envelope, source):
            self._enter(queue_id, source, self._doors.clock.monotonic())
        else:
            self._queue.added(queue_id, envelope, self._doors.clock.monotonic())

    def _enter(self, queue_id: QueueId, source: str, born: float) -> bool:
        """A message that a rule takes: nobody is tried before it is written down who is held."""
        is_new = self._queue.entered(queue_id, born)
        if is_new:
            self._run(self._orders.hold_on_entry(queue_id, source))
        return is_new

    async def spool(self, report: Report) -> None:
        """The `Spooler` door: durable when it answers, and it is tried at once."""
        await self._ledger.add_report(report)
        self._announce(report)

    def _announce(self, report: Report) -> None:
        self.added(report.queue_id, report.envelope, 0.0, OUR_OWN)

    # --- the timer ----------------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        """Look for work in the next turn of the reactor, so that a reply goes out before its message is sent on."""
        self._set_timer(0.0)

    def _set_timer(self, delay_s: float) -> None:
        if self._is_stopping or not self._is_started:
            return
        at = self._doors.clock.monotonic() + delay_s
        if self._timer is not None:
            if self._wakes_at <= at:
                return
            self._timer.cancel()
        self._wakes_at = at
        self._timer = self._doors.clock.call_later(delay_s, self._pump)

    def _pump(self) -> None:
        """Start all that may start, then set the timer for the earliest that waits."""
        self._timer = None
        if self._is_stopping:
            return
        while (job := self._queue.take(self._doors.clock.monotonic())) is not None:
            self._run(self._work(job))
        due = self._queue.next_due()
        if due is not None:
            wait = due - self._doors.clock.monotonic()
            self._set_timer(min(max(0.0, wait), _LONGEST_SLEEP_S))

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run work of our own; what it raises is a fault of ours, logged, and the queue lives."""
        self._running += 1
        Deferred.fromCoroutine(work).addErrback(self._broken).addCallback(self._over)

    def _broken(self, failure: Failure) -> None:
        assert failure.value is not None, "a failure has its exception"
        self._doors.tell_failure("the queue", failure.value)

    def _over(self, _: object) -> None:
        self._running -= 1
        if not self._running:
            drained, self._drained = self._drained, []
            for one in drained:
                one.callback(None)

    # --- one job ------------------------------------------------------------------------------------------------------

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
                self._wake()
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
            self._wake()
            self._take_out_if_removed(job.entry)

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
            self._queue.lane_failed(job.lane, troubles[0], now, self._settings.longest_rest_s)
        elif outcomes:
            self._queue.lane_answered(job.lane, now)
        return outcomes

    def _park(self, job: Job) -> None:
        if self._queue.turns.park(job):
            self._wake()

    async def _opened(self, queue_id: QueueId, job: Job) -> Opened | None:
        """The message's file in memory; None when there is nothing to send, and what to do about it is done."""
        later = self._doors.clock.monotonic() + _UNREADABLE_RETRY_S
        try:
            opened, trouble = await self._open.open(queue_id)
        except Overloaded:
            self._queue.put_back(job, self._doors.clock.monotonic() + _BUSY_RETRY_S)
            return None
        for item in trouble:
            self._tell_unreadable(item)
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
        clock, schedule = self._doors.clock, self._settings.schedule
        monotonic = clock.monotonic()
        age_s = monotonic - job.entry.born
        moment = Moment(clock.now(), age_s, schedule.spread(self._doors.random))
        for number, outcome in outcomes.items():
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
        self._tell(message, opened.snapshot, outcomes, moment)
        if delayed and not job.entry.is_removed:
            await self._reporting.send_delays(opened, message, delayed, age_s)
        wanted = {
            number: (one.attempts, monotonic + (one.next_attempt - moment.now))
            for number in job.recipients
            if (one := opened.progress[number]).may_be_tried
        }
        await self._finish(opened, message, age_s, is_recovery=False)
        hopeful = {number for number in wanted if is_destination_stage(opened.progress[number].stage)}
        self._queue.reschedule(job, message.envelope, wanted, hopeful)

    async def _settle(self, queue_id: QueueId) -> None:
        """Make up for what a crash left undone after the last attempt (`spool`, rows 5 and 6)."""
        while not await self._try_to_settle(queue_id):
            await self._doors.clock.sleep(_BUSY_RETRY_S)

    async def _try_to_settle(self, queue_id: QueueId) -> bool:
        """False: our own disk was too busy."""
        try:
            opened, trouble = await self._open.open(queue_id)
            for item in trouble:
                self._tell_unreadable(item)
            if opened.message is not None:
                age_s = age_when_taken_up(opened.message.received_at, self._doors.clock.now())
                await self._finish(opened, opened.message, age_s, is_recovery=True)
        except Overloaded:
            return False
        finally:
            self._open.close(queue_id)
        return True

    async def _finish_ordered(self, opened: Opened, message: StoredMessage, age_s: float) -> None:
        await self._finish(opened, message, age_s, is_recovery=False)

    async def _finish(self, opened: Opened, message: StoredMessage, age_s: float, *, is_recovery: bool) -> None:
        """Reports that are owed; then the removal, if nothing is left to do.

        A message that the operator took out owes nothing any more; it goes when the last of its jobs is over.
        """
        queue_id = message.queue_id
        if self._is_removed(queue_id):
            return
        is_marked = await self._reporting.send_due(opened, message, age_s, is_recovery=is_recovery)
        if is_marked and not opened.is_done:
            await self._ledger.write_state(queue_id, opened.snapshot)
        if opened.is_done and not opened.is_removing and not self._is_removed(queue_id):
            opened.is_removing = True
            await self._ledger.remove(queue_id)
            self._queue.forget(queue_id)
            self._doors.sink(Removed(queue_id))

    def _is_removed(self, queue_id: QueueId) -> bool:
        entry = self._queue.entry(queue_id)
        return entry is not None and entry.is_removed

    # --- telling ------------------------------------------------------------------------------------------------------

    def _tell(self, message: StoredMessage, progress: Progress, outcomes: dict[int, Outcome], moment: Moment) -> None:
        for number, outcome in outcomes.items():
            one, recipient = progress[number], str(message.envelope.recipients[number].mailbox)
            reply = "" if one.reply is None else str(one.reply)
            if isinstance(outcome, Delivered):
                if outcome.reply is None and not outcome.host:
                    self._doors.sink(Filed(message.queue_id, recipient, recipient, outcome.file))
                else:
                    self._doors.sink(Sent(message.queue_id, recipient, one.host, reply, moment.age_s, outcome.tls))
            elif one.is_waiting:
                wait = one.next_attempt - moment.now
                self._doors.sink(
                    DeferredEvent(message.queue_id, recipient, one.host, one.reason, reply, wait, one.attempts)
                )
            else:
                reason = f"expired: {one.reason}" if one.state is RecipientState.EXPIRED else one.reason
                self._doors.sink(BouncedEvent(message.queue_id, recipient, one.host, one.enhanced, reason, reply))

    def _tell_unreadable(self, item: Unreadable) -> None:
        if item.is_set_aside:
            self._doors.sink(QueueFileDamaged(item.queue_id, str(item.path), item.reason))
        else:
            what = f"{item.path} cannot be read"
            self._doors.sink(Trouble(item.queue_id, what, item.reason, "the message stays where it is"))

    # --- the operator -------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._queue)

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
        going: list[Awaitable[None]] = []
        count = 0
        for queue_id in ids:
            entry = self._queue.entry(queue_id)
            if entry is None or entry.is_removed:
                continue
            count += 1
            is_running = self._queue.is_running(queue_id)
            self._queue.withdraw(queue_id)
            if not is_running:
                going.append(Deferred.fromCoroutine(self._take_out(queue_id)))
        for one in going:
            await one
        return count

    def _take_out_if_removed(self, entry: Entry) -> None:
        """The end of the last job of a message that the operator took out."""
        queue_id = entry.queue_id
        if entry.is_removed and self._queue.entry(queue_id) is entry and not self._queue.is_running(queue_id):
            self._run(self._take_out(queue_id))

    async def _take_out(self, queue_id: QueueId) -> None:
        await self._ledger.remove(queue_id)
        self._queue.forget(queue_id)
        self._doors.sink(Removed(queue_id, "by the operator"))
