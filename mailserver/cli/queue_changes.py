"""Changing the queue from the command line: through the running server, or under the state lock without it."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from mailserver.cli.context import CliContext, Refusal
from mailserver.mail.address import Mailbox
from mailserver.mail.ids import QueueId, QueueIds
from mailserver.maillog import BouncedEvent, Held, MailEvent, Ordered, Released, Removed
from mailserver.store.control_socket import ControlFailed, ControlUnavailable, Request, Response, ask
from mailserver.store.files import Files
from mailserver.store.journal_format import journal_path
from mailserver.store.journal_writer import rules_of, write_alone
from mailserver.store.queue_orders import Choice, given_up, held, released, with_report
from mailserver.store.spool import Spool, StoredMessage, Unreadable
from mailserver.store.spool_changes import Change, Remove, WriteState
from mailserver.store.spool_format import SpoolPaths
from mailserver.store.spool_state import Progress, RecipientProgress
from mailserver.store.state_lock import StateLock, StateLocked

# Between its lock and its socket a starting server needs a moment; so does a stopping one.
_PATIENCE_S = 5.0
_IDS_AT_ONCE = 1000


def told(item: Unreadable) -> str:
    """For the operator."""
    if item.is_set_aside:
        return f"a damaged file of {item.queue_id} was set aside as {item.path}: {item.reason}"
    return f"{item.path} cannot be read: {item.reason}"


def open_spool(context: CliContext) -> Spool:
    """The queue's folders; nothing is made or changed by that."""
    return Spool(SpoolPaths(context.config.storage.state), Files())


def retry(context: CliContext, ids: Sequence[str], domain: Mailbox | None) -> int:
    """Make these messages due now; the number of messages. Raises `Refusal`."""

    def without_server(spool: Spool) -> int:
        return _change(context, spool, ids, lambda message: _made_due(message, domain))

    request = Request("queue-retry", domain="" if domain is None else domain.domain)
    return _through_server_or_alone(context, request, ids, without_server).count


def remove(context: CliContext, ids: Sequence[str]) -> tuple[int, int]:
    """Take these messages out of the queue, without a bounce. Raises `Refusal`.

    The number of messages, and of those among them that are being sent just now and go when that is over.
    """

    def without_server(spool: Spool) -> int:
        return _change(context, spool, ids, lambda message: Remove(message.queue_id))

    done = _through_server_or_alone(context, Request("queue-remove"), ids, without_server)
    return done.count, int(done.about.get("running", 0))


def hold(context: CliContext, ids: Sequence[str], choice: Choice, reason: str) -> tuple[int, int]:
    """Have these recipients wait until they are released. Raises `Refusal`.

    The number of messages, and of those among them that are being sent just now, for which it counts afterwards.
    """

    def change(message: StoredMessage, now: float) -> tuple[Progress, list[MailEvent]]:
        numbers = _places(message, choice, lambda one: one.may_be_tried)
        progress = _changed(message, numbers, lambda one: held(one, context.operator, reason, now))
        return progress, [Held(message.queue_id, _addresses(message, numbers), context.operator, reason)]

    return _order(context, "queue-hold", ids, choice, reason, change)


def release(context: CliContext, ids: Sequence[str], choice: Choice) -> int:
    """Let these recipients be tried again, now; the number of messages. Raises `Refusal`."""

    def change(message: StoredMessage, now: float) -> tuple[Progress, list[MailEvent]]:
        numbers = _places(message, choice, lambda one: one.is_held)
        progress = _changed(message, numbers, lambda one: released(one, now))
        return progress, [Released(message.queue_id, _addresses(message, numbers), context.operator)]

    return _order(context, "queue-release", ids, choice, "", change)[0]


def bounce(context: CliContext, ids: Sequence[str], choice: Choice, reason: str) -> tuple[int, int]:
    """Give these recipients up, with a report to the sender. Raises `Refusal`.

    The number of messages, and of those that were left alone because they are being sent just now. Without the server
    the report is made when it starts.
    """
    new_report_id = QueueIds(time.time)

    def change(message: StoredMessage, now: float) -> tuple[Progress, list[MailEvent]]:
        numbers = _places(message, choice, lambda one: one.is_waiting)
        progress = _changed(message, numbers, lambda one: given_up(one, reason, now))
        events: list[MailEvent] = [Ordered(message.queue_id, "bounce", context.operator)]
        for number, address in zip(numbers, _addresses(message, numbers), strict=True):
            one = progress[number]
            reply = "" if one.reply is None else str(one.reply)
            stage = "" if one.stage is None else one.stage.value
            events.append(BouncedEvent(message.queue_id, address, one.host, one.enhanced, one.reason, reply, stage))
        return with_report(message.envelope, progress, numbers, new_report_id()), events

    return _order(context, "queue-bounce", ids, choice, reason, change)


def change_list(context: CliContext, request: Request, alone: Callable[[], Sequence[MailEvent]]) -> int:
    """Change a list beside the queue; how many entries changed. `alone` does it under the lock. Raises `Refusal`."""
    events: list[MailEvent] = []

    def without_server(spool: Spool) -> int:
        del spool
        events.extend(alone())
        return len(events)

    return _through_server_or_alone(context, request, (), without_server, lambda: events).count


def running_ids(context: CliContext) -> frozenset[str]:
    """What the server is sending at this moment; empty when there is none, or it does not answer soon."""
    try:
        return frozenset(ask(context.config.storage.state, Request("queue-running"), 5.0).ids)
    except (ControlUnavailable, ControlFailed, ValueError):
        return frozenset()


# --- an order on some recipients --------------------------------------------------------------------------------------

_Order = Callable[[StoredMessage, float], tuple[Progress, list[MailEvent]]]


def _order(
    context: CliContext, command: str, ids: Sequence[str], choice: Choice, reason: str, change: _Order
) -> tuple[int, int]:
    events: list[MailEvent] = []

    def one(message: StoredMessage) -> Change | None:
        progress, told = change(message, time.time())
        if progress == message.progress:
            return None
        events.extend(told)
        return WriteState(message.queue_id, progress)

    about = {"recipient": choice.recipient, "state": choice.state, "reason": reason}
    request = Request(command, domain=choice.domain, about={name: text for name, text in about.items() if text})
    done = _through_server_or_alone(
        context, request, ids, lambda spool: _change(context, spool, ids, one), lambda: events
    )
    return done.count, int(done.about.get("running", 0))


def _places(message: StoredMessage, choice: Choice, wanted: Callable[[RecipientProgress], bool]) -> list[int]:
    meant = choice.waiting(message.envelope, message.progress)
    return [number for number in meant if wanted(message.progress[number])]


def _changed(
    message: StoredMessage, numbers: Sequence[int], change: Callable[[RecipientProgress], RecipientProgress]
) -> Progress:
    return tuple(change(one) if number in numbers else one for number, one in enumerate(message.progress))


def _addresses(message: StoredMessage, numbers: Sequence[int]) -> tuple[str, ...]:
    return tuple(str(message.envelope.recipients[number].mailbox) for number in numbers)


# --- one way or the other ---------------------------------------------------------------------------------------------


def _through_server_or_alone(
    context: CliContext,
    request: Request,
    ids: Sequence[str],
    without_server: Callable[[Spool], int],
    events: Callable[[], Sequence[MailEvent]] | None = None,
) -> Response:
    """`events` are what the server would have told, when that is more than that it was ordered."""
    state = context.config.storage.state
    request = replace(request, by=context.operator)
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return _sum([_ask(context, replace(request, ids=part)) for part in _parts(ids)])
        except ControlUnavailable:
            pass
        try:
            with _lock(context, request.command):
                count = without_server(open_spool(context))
                _note(context, _ordered(request, ids) if events is None else events())
                return Response(count=count)
        except StateLocked as locked:
            if time.monotonic() > deadline:
                raise Refusal(f"{locked}, which does not answer on its control socket below {state}") from None
            time.sleep(0.2)


def _sum(answers: Iterable[Response]) -> Response:
    """One answer for several requests."""
    answers = list(answers)
    running = sum(int(one.about.get("running", 0)) for one in answers)
    return Response(count=sum(one.count for one in answers), about={"running": running})


def _ordered(request: Request, ids: Sequence[str]) -> list[MailEvent]:
    events: list[MailEvent] = []
    for queue_id in ids:
        events.append(Ordered(queue_id, request.command.removeprefix("queue-"), request.by))
        if request.command == "queue-remove":
            events.append(Removed(queue_id, "by the operator"))
    return events


def _note(context: CliContext, events: Sequence[MailEvent]) -> None:
    """What the server would have told its journal."""
    settings = context.config.journal
    if not settings.enabled:
        return
    path = journal_path(context.config.storage.state)
    write_alone(path, rules_of(settings), events, lambda event: context.warn(event.line()))


def _ask(context: CliContext, request: Request) -> Response:
    try:
        return ask(context.config.storage.state, request)
    except (ControlFailed, ValueError) as error:
        raise Refusal(str(error)) from None


def _parts(ids: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for start in range(0, max(1, len(ids)), _IDS_AT_ONCE):
        yield tuple(ids[start : start + _IDS_AT_ONCE])


@contextmanager
def _lock(context: CliContext, purpose: str) -> Iterator[None]:
    context.become_owner()
    try:
        lock = StateLock(context.config.storage.state, purpose)
    except OSError as error:
        raise Refusal(f"{error.filename}: {error.strerror}") from None
    with lock:
        yield


def _change(
    context: CliContext, spool: Spool, ids: Iterable[str], change: Callable[[StoredMessage], Change | None]
) -> int:
    """Under the lock we are the one who sets damaged files aside; a message without its state is still a message."""
    changes = []
    for item in spool.load(ids):
        if isinstance(item, Unreadable):
            context.warn(told(item))
            continue
        wanted = change(item)
        if wanted is not None:
            changes.append(wanted)
    for trouble in spool.apply(changes) if changes else []:
        if trouble is not None:
            raise Refusal(f"the queue could not be changed: {trouble}")
    return len(changes)


def _made_due(message: StoredMessage, domain: Mailbox | None) -> Change | None:
    """A state in which the waiting recipients (of one domain, if named) are due at once."""
    progress = tuple(
        replace(one, next_attempt=0.0)
        if one.may_be_tried and (domain is None or recipient.mailbox.domain == domain.domain)
        else one
        for recipient, one in zip(message.envelope.recipients, message.progress, strict=True)
    )
    if not any(
        one.may_be_tried and (domain is None or recipient.mailbox.domain == domain.domain)
        for recipient, one in zip(message.envelope.recipients, message.progress, strict=True)
    ):
        return None
    return WriteState(QueueId(message.queue_id), progress)
