"""Changing the queue from the command line: through the running server, or under the state lock without it."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from mailserver.cli.context import CliContext, Refusal
from mailserver.mail.address import Mailbox
from mailserver.mail.ids import QueueId
from mailserver.maillog import MailEvent, Ordered, Removed
from mailserver.store.control_socket import ControlFailed, ControlUnavailable, Request, Response, ask
from mailserver.store.files import Files
from mailserver.store.journal_format import journal_path
from mailserver.store.journal_writer import rules_of, write_alone
from mailserver.store.spool import Change, Remove, Spool, StoredMessage, Unreadable, WriteState
from mailserver.store.spool_format import SpoolPaths
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


def running_ids(context: CliContext) -> frozenset[str]:
    """What the server is sending at this moment; empty when there is none, or it does not answer soon."""
    try:
        return frozenset(ask(context.config.storage.state, Request("queue-running"), 5.0).ids)
    except (ControlUnavailable, ControlFailed, ValueError):
        return frozenset()


# --- one way or the other ---------------------------------------------------------------------------------------------


def _through_server_or_alone(
    context: CliContext, request: Request, ids: Sequence[str], without_server: Callable[[Spool], int]
) -> Response:
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
                _note(context, request, ids)
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


def _note(context: CliContext, request: Request, ids: Sequence[str]) -> None:
    """What the server would have told its journal."""
    settings = context.config.journal
    if not settings.enabled:
        return
    events: list[MailEvent] = []
    for queue_id in ids:
        events.append(Ordered(queue_id, request.command.removeprefix("queue-"), request.by))
        if request.command == "queue-remove":
            events.append(Removed(queue_id, "by the operator"))
    path = journal_path(context.config.storage.state)
    write_alone(path, rules_of(settings), events, lambda event: context.warn(event.line()))


def _ask(context: CliContext, request: Request) -> Response:
    try:
        return ask(context.config.storage.state, request)
    except (ControlFailed, ValueError) as error:
        raise Refusal(str(error)) from None


def _parts(ids: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for start in range(0, len(ids), _IDS_AT_ONCE):
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
        if one.is_waiting and (domain is None or recipient.mailbox.domain == domain.domain)
        else one
        for recipient, one in zip(message.envelope.recipients, message.progress, strict=True)
    )
    if not any(
        one.is_waiting and (domain is None or recipient.mailbox.domain == domain.domain)
        for recipient, one in zip(message.envelope.recipients, message.progress, strict=True)
    ):
        return None
    return WriteState(QueueId(message.queue_id), progress)
