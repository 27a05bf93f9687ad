"""The operator's hand on the running queue, and the rules that hold new mail. Async over doors.

Order of things, as for an attempt: the state on disk, then the event, then reports, then the removal. An order that is
answered is on disk. What is being sent just now cannot be called back: a hold counts for it when its attempt is over,
a bounce leaves it alone and says so.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from twisted.internet.defer import Deferred, gatherResults

from mailserver.mail.envelope import Envelope
from mailserver.mail.ids import QueueId
from mailserver.mail.trace import is_of_copies, is_our_own, login_of
from mailserver.maillog import BouncedEvent, Held, Ordered, Released, ReportDropped
from mailserver.policy.holding import HoldRule, rules_that_hold
from mailserver.ports import Overloaded
from mailserver.relay.account_caps import BY_CAP
from mailserver.relay.doors import RelayDoors
from mailserver.relay.dsn_fields import Action
from mailserver.relay.ledger import Ledger
from mailserver.relay.opened import Opened, OpenMessages
from mailserver.relay.progress import why_no_report
from mailserver.relay.queue import Queue
from mailserver.store.queue_orders import Choice, given_up, held, released, with_report
from mailserver.store.spool import StoredMessage, Unreadable
from mailserver.store.spool_state import RecipientProgress

_BUSY_S = 1.0
_UNREADABLE_S = 300.0
# So many messages are opened at once.
_TOGETHER = 200

# What is left to do for a message whose recipients changed: reports that are owed, removal.
Finish = Callable[[Opened, StoredMessage, float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Done:
    """How many messages an order changed, and how many are being sent just now and so not, or not yet, changed.

    `is_unreadable`: the disk did not give the message out, and may do so later.
    """

    count: int = 0
    running: int = 0
    is_unreadable: bool = False


class Orders:
    """One for each runner. `finish` does what a message owes when its recipients have come to their end."""

    def __init__(
        self,
        doors: RelayDoors,
        rules: Sequence[HoldRule],
        ledger: Ledger,
        queue: Queue,
        open_messages: OpenMessages,
        finish: Finish,
        tell_unreadable: Callable[[Unreadable], None],
    ) -> None:
        self._doors = doors
        self._rules = tuple(rules)
        self._ledger = ledger
        self._queue = queue
        self._open = open_messages
        self._finish = finish
        self._tell_unreadable = tell_unreadable

    async def hold(self, ids: Iterable[QueueId], choice: Choice, by: str, reason: str) -> Done:
        """Try these recipients no more until they are released."""

        async def one(queue_id: QueueId) -> Done:
            return await self._with(queue_id, lambda opened, message: self._hold(opened, message, choice, by, reason))

        return await self._each(ids, one)

    async def release(self, ids: Iterable[QueueId], choice: Choice, by: str) -> Done:
        """Let these recipients be tried, now."""

        async def one(queue_id: QueueId) -> Done:
            return await self._with(queue_id, lambda opened, message: self._release(opened, message, choice, by))

        return await self._each(ids, one)

    async def bounce(self, ids: Iterable[QueueId], choice: Choice, by: str, reason: str) -> Done:
        """Give these recipients up, with a report to the sender."""

        async def one(queue_id: QueueId) -> Done:
            return await self._with(queue_id, lambda opened, message: self._bounce(opened, message, choice, by, reason))

        return await self._each(ids, one)

    # --- rules --------------------------------------------------------------------------------------------------------

    def is_held_on_entry(self, envelope: Envelope, source: str) -> bool:
        """Whether a rule takes any recipient of this new message; then `hold_on_entry` is its way in."""
        return bool(self._rules) and bool(self._taken(envelope, source))

    def over_cap(self, envelope: Envelope, source: str) -> str:
        """Why this new message goes beyond what its sender's account may send; empty: it does not, and is counted.

        Once for each message, when it comes. A crash before the hold is on disk lets this one go.
        """
        return "" if self._doors.caps is None else self._doors.caps.judge(envelope, source)

    async def hold_on_entry(self, queue_id: QueueId, source: str, over_cap: str = "") -> None:
        """Write down who is held, by a rule or for a cap (all), then let the others be tried.

        The message must be in the index already. A crash before that is on disk does no harm: without a state file the
        rules are asked again.
        """

        async def enter(opened: Opened, message: StoredMessage) -> Done:
            taken = self._taken(message.envelope, source)
            now = self._doors.clock.now()
            for number, rule in taken.items():
                opened.progress[number] = held(opened.progress[number], f"rule {rule.name}", rule.reason, now)
            capped = [n for n, one in enumerate(opened.progress) if over_cap and one.may_be_tried]
            for number in capped:
                opened.progress[number] = held(opened.progress[number], BY_CAP, over_cap, now)
            await self._ledger.write_state(queue_id, opened.snapshot)
            if capped:
                self._doors.sink(Held(queue_id, _addresses(message, capped), BY_CAP, over_cap))
            for rule in dict.fromkeys(taken.values()):
                numbers = [number for number, other in taken.items() if other is rule]
                self._doors.sink(Held(queue_id, _addresses(message, numbers), f"rule {rule.name}", rule.reason))
            self._replan(opened, message)
            return Done(1)

        while (done := await self._with(queue_id, enter)).is_unreadable:
            # Nothing may be left lying until the next start because the disk would not give it out just now.
            await self._doors.clock.sleep(_UNREADABLE_S)
        if not done.count:
            self._queue.forget(queue_id)

    def _taken(self, envelope: Envelope, source: str) -> dict[int, HoldRule]:
        return rules_that_hold(
            self._rules, envelope, login_of(source), is_ours=is_our_own(source), is_copy=is_of_copies(source)
        )

    # --- one message --------------------------------------------------------------------------------------------------

    async def _hold(self, opened: Opened, message: StoredMessage, choice: Choice, by: str, reason: str) -> Done:
        now = self._doors.clock.now()
        numbers = [n for n in choice.waiting(message.envelope, opened.snapshot) if opened.progress[n].may_be_tried]
        for number in numbers:
            opened.progress[number] = held(opened.progress[number], by, reason, now)
        if not numbers:
            return Done()
        self._replan(opened, message)
        await self._ledger.write_state(message.queue_id, opened.snapshot)
        self._doors.sink(Held(message.queue_id, _addresses(message, numbers), by, reason))
        running = self._queue.running_recipients(message.queue_id).intersection(numbers)
        return Done(1, 1 if running else 0)

    async def _release(self, opened: Opened, message: StoredMessage, choice: Choice, by: str) -> Done:
        now = self._doors.clock.now()
        numbers = [n for n in choice.waiting(message.envelope, opened.snapshot) if opened.progress[n].is_held]
        for number in numbers:
            opened.progress[number] = released(opened.progress[number], now)
        if not numbers:
            return Done()
        # On disk first: a restart must not hold again what is on its way already.
        await self._ledger.write_state(message.queue_id, opened.snapshot)
        self._doors.sink(Released(message.queue_id, _addresses(message, numbers), by))
        self._replan(opened, message)
        # Whoever releases wants it tried now, also where the destination is given a rest.
        self._queue.bring_forward([message.queue_id], self._doors.clock.monotonic())
        return Done(1)

    async def _bounce(self, opened: Opened, message: StoredMessage, choice: Choice, by: str, reason: str) -> Done:
        now, envelope = self._doors.clock.now(), message.envelope
        meant = list(choice.waiting(envelope, opened.snapshot))
        busy = self._queue.running_recipients(message.queue_id)
        numbers = [number for number in meant if number not in busy]
        running = 1 if len(numbers) < len(meant) else 0
        if not numbers:
            return Done(0, running)
        for number in numbers:
            opened.progress[number] = given_up(opened.progress[number], reason, now)
        opened.progress = list(with_report(envelope, opened.snapshot, numbers, self._doors.new_queue_id()))
        self._replan(opened, message)
        await self._ledger.write_state(message.queue_id, opened.snapshot)
        self._doors.sink(Ordered(message.queue_id, "bounce", by))
        for number in numbers:
            self._tell_given_up(message, number, opened.progress[number])
        if any(not opened.progress[number].report for number in numbers):
            self._doors.sink(ReportDropped(message.queue_id, why_no_report(envelope, Action.FAILED)))
        entry = self._queue.entry(message.queue_id)
        if entry is not None:
            await self._finish(opened, message, self._doors.clock.monotonic() - entry.born)
        return Done(1, running)

    def _tell_given_up(self, message: StoredMessage, number: int, one: RecipientProgress) -> None:
        address, reply = _addresses(message, [number])[0], "" if one.reply is None else str(one.reply)
        stage = "" if one.stage is None else one.stage.value
        self._doors.sink(BouncedEvent(message.queue_id, address, one.host, one.enhanced, one.reason, reply, stage))

    def _replan(self, opened: Opened, message: StoredMessage) -> None:
        attempts = {number: one.attempts for number, one in enumerate(opened.progress) if one.may_be_tried}
        self._queue.replan(message.queue_id, message.envelope, attempts, self._doors.clock.monotonic())

    # --- many ---------------------------------------------------------------------------------------------------------

    async def _each(self, ids: Iterable[QueueId], one: Callable[[QueueId], Awaitable[Done]]) -> Done:
        names = list(dict.fromkeys(ids))
        count = running = 0
        for start in range(0, len(names), _TOGETHER):
            tasks = [Deferred.fromCoroutine(_awaited(one(name))) for name in names[start : start + _TOGETHER]]
            for done in await gatherResults(tasks):
                count += done.count
                running += done.running
        return Done(count, running)

    async def _with(self, queue_id: QueueId, change: Callable[[Opened, StoredMessage], Awaitable[Done]]) -> Done:
        """Open, change, close. A message that is unknown, going or unreadable is left alone."""
        while True:
            entry = self._queue.entry(queue_id)
            if entry is None or entry.is_removed:
                return Done()
            try:
                opened, trouble = await self._open.open(queue_id)
                for item in trouble:
                    self._tell_unreadable(item)
                if opened.message is None or opened.is_removing or entry.is_removed:
                    is_there = opened.message is None and not all(item.is_set_aside for item in trouble)
                    return Done(is_unreadable=is_there)
                return await change(opened, opened.message)
            except Overloaded:
                pass
            finally:
                self._open.close(queue_id)
            await self._doors.clock.sleep(_BUSY_S)


async def _awaited(what: Awaitable[Done]) -> Done:
    return await what


def _addresses(message: StoredMessage, numbers: Iterable[int]) -> tuple[str, ...]:
    return tuple(str(message.envelope.recipients[number].mailbox) for number in numbers)
