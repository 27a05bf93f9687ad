"""`mailserver queue`: what waits to be sent and why; try it again; take it out.

Looking reads the files and needs neither the server nor a lock. Changing goes through the running server, or without
one through the state lock (`queue_changes`).
"""

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from mailserver.cli import queue_changes, queue_totals
from mailserver.cli.context import CliContext, Refusal
from mailserver.cli.ownership import reading_hint
from mailserver.cli.queue_text import HEADINGS, as_object, page, rows, summary
from mailserver.config.fault import Wrong
from mailserver.config.values import duration
from mailserver.mail.address import Mailbox, canonical_domain, parse_mailbox
from mailserver.mail.headers import header_end
from mailserver.mail.ids import is_queue_id
from mailserver.mail.reply import printable
from mailserver.mail.trace import login_of
from mailserver.store.queue_orders import Choice
from mailserver.store.spool import Spool, StoredMessage, Unreadable
from mailserver.store.spool_json import Damaged
from mailserver.store.spool_state import HELD, RecipientState

_HEADER_OCTETS = 64 * 1024


@dataclass(frozen=True, slots=True)
class Filter:
    """Which messages are meant. Texts are parts of addresses, compared in lower case; None and empty mean any.

    `login` is the whole address, folded, of the account that handed a message in, whatever sender it named.
    """

    sender: str = ""
    login: str = ""
    recipient: str = ""
    domain: str = ""
    state: str | None = None
    older_s: float | None = None
    newer_s: float | None = None

    @property
    def is_empty(self) -> bool:
        """Whether every message is meant."""
        return self == Filter()

    def takes(self, message: StoredMessage, now: float) -> bool:
        """Whether this message is meant; about recipients, one that fits in all ways is enough."""
        age_s = max(0.0, now - message.received_at)
        if self.older_s is not None and age_s < self.older_s:
            return False
        if self.newer_s is not None and age_s > self.newer_s:
            return False
        sender = message.envelope.reverse_path
        if self.sender and self.sender.lower() not in ("<>" if sender is None else str(sender).lower()):
            return False
        if self.login and self.login != _folded(login_of(message.source)):
            return False
        return any(
            self.recipient.lower() in str(recipient.mailbox).lower()
            and self.domain in ("", recipient.mailbox.domain)
            and self.state in (None, one.shown_state)
            for recipient, one in zip(message.envelope.recipients, message.progress, strict=True)
        )


def _folded(address: str) -> str:
    mailbox = parse_mailbox(address)
    return mailbox.folded if isinstance(mailbox, Mailbox) else ""


def _login(context: click.Context, parameter: click.Parameter, value: str | None) -> str:
    del context, parameter
    if value is None:
        return ""
    folded = _folded(value)
    if not folded:
        raise click.BadParameter("this is no address")
    return folded


def _domain(context: click.Context, parameter: click.Parameter, value: str | None) -> str:
    del context, parameter
    if value is None:
        return ""
    domain = canonical_domain(value)
    if domain is None:
        raise click.BadParameter("this is no domain")
    return domain


def age_option(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """A click callback: a time with its unit, in seconds."""
    del context, parameter
    if value is None:
        return None
    try:
        read = duration().read(value, Path())
    except Wrong as wrong:
        raise click.BadParameter(str(wrong)) from None
    assert isinstance(read, float)
    return read


def _filters(command: Callable[..., None]) -> Callable[..., None]:
    """The options that choose messages, the same everywhere."""
    for option in (
        click.option("--newer", "newer_s", metavar="TIME", callback=age_option, help="Not older than this: 2h."),
        click.option("--older", "older_s", metavar="TIME", callback=age_option, help="At least as old as this: 1d."),
        click.option(
            "--state", type=click.Choice([*(one.value for one in RecipientState), HELD]), help="A recipient's state."
        ),
        click.option("--domain", metavar="DOMAIN", callback=_domain, help="A recipient is in this domain."),
        click.option("--recipient", metavar="TEXT", default="", help="A recipient's address contains this."),
        click.option(
            "--login",
            metavar="ADDRESS",
            callback=_login,
            help="This account handed it in, whatever sender it named.",
        ),
        click.option(
            "--sender", metavar="TEXT", default="", help="The sender's address contains this; <> is the null one."
        ),
    ):
        command = option(command)
    return command


@click.group(invoke_without_command=True)
@click.pass_context
def queue(context: click.Context) -> None:
    """What waits to be sent, and what to do about it. Alone: how much waits where."""
    if context.invoked_subcommand is None:
        context.invoke(summary_)


@queue.command("summary")
@click.option("--json", "as_json", is_flag=True, help="Print one object; times are seconds since the epoch.")
@click.pass_obj
def summary_(context: CliContext, as_json: bool = False) -> None:
    """How much waits, by state and by destination, with the oldest and the last words of each."""
    now = time.time()
    found = queue_totals.Totals()
    for message in _found(context, Filter(), now):
        found.count(message)
    if as_json:
        context.say_json(queue_totals.as_object(found))
        return
    if found.domains:
        context.say_table(queue_totals.HEADINGS, queue_totals.rows(found, now))
    if sys.stdout.isatty() or not found.domains:
        context.say(queue_totals.sentence(found))


@queue.command("list")
@_filters
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects; times are seconds since the epoch.")
@click.pass_obj
def list_(context: CliContext, /, as_json: bool, **filters: str | float | None) -> None:
    """The messages in the queue, oldest first, a line for each recipient."""
    now = time.time()
    running = queue_changes.running_ids(context)
    found = _found(context, _filter(filters), now)
    if as_json:
        context.say_json([as_object(message, is_running=message.queue_id in running) for message in found])
        return
    messages = list(found)
    table = [row for one in messages for row in rows(one, now, is_running=one.queue_id in running)]
    if not sys.stdout.isatty():
        context.say_table(HEADINGS, table)
        return
    if table:
        context.say_table(HEADINGS, table)
    context.say(summary(len(messages), sum(one.size_octets for one in messages)) if table else "the queue is empty")


@queue.command()
@click.argument("queue_id", metavar="ID")
@click.option(
    "--content",
    "with_content",
    is_flag=True,
    help="Print the message itself instead; into a pipe or file octet by octet.",
)
@click.option("--transcript", "with_transcript", is_flag=True, help="Print what was said in the last attempts instead.")
@click.option("--json", "as_json", is_flag=True, help="Print one object.")
@click.pass_obj
def show(context: CliContext, /, queue_id: str, with_content: bool, with_transcript: bool, as_json: bool) -> None:
    """One message: envelope, attempts, what the other side said, next attempt, header."""
    spool = queue_changes.open_spool(context)
    message = _message(spool, queue_id)
    if with_transcript:
        _show_transcript(context, spool, message)
        return
    try:
        if with_content:
            _show_content(context, spool.read_content(message.content, message.size_octets))
            return
        beginning = spool.read_content(message.content, _HEADER_OCTETS)
    except OSError as error:
        context.refuse(f"{message.content.path}: {error.strerror}")
    header = beginning[: header_end(beginning)].decode("utf-8", "replace")
    is_running = message.queue_id in queue_changes.running_ids(context)
    if as_json:
        context.say_json({**as_object(message, is_running=is_running), "header": header})
        return
    for line in page(message, time.time(), header, is_running=is_running):
        context.say(printable(line.expandtabs()))


def _show_content(context: CliContext, octets: bytes) -> None:
    """As it is; but a terminal obeys what a stranger wrote, so there it is made printable."""
    if not sys.stdout.isatty():
        sys.stdout.buffer.write(octets)
        return
    for line in octets.decode("utf-8", "replace").split("\r\n"):
        context.say(printable(line.expandtabs()))


def _show_transcript(context: CliContext, spool: Spool, message: StoredMessage) -> None:
    try:
        text = spool.read_transcript(message.queue_id)
    except (OSError, Damaged) as error:
        context.refuse(f"{spool.paths.transcript(message.queue_id)}: cannot be read: {error}")
    if not text:
        hint = "" if context.config.relay.transcripts else "; they are kept with [relay] transcripts = true"
        context.refuse(f"there is no transcript of {message.queue_id}{hint}")
    for line in text.splitlines():
        context.say(printable(line))


@queue.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every message.")
@_filters
@click.pass_obj
def retry(context: CliContext, /, ids: tuple[str, ...], everything: bool, **filters: str | float | None) -> None:
    """Try these messages now: by ID, by what they have in common, or all."""
    chosen = _filter(filters)
    wanted = _chosen(context, ids, everything, chosen)
    domain = Mailbox("postmaster", chosen.domain) if chosen.domain else None
    count = queue_changes.retry(context, wanted, domain)
    context.say(f"{_messages(count)} will be tried now")


@queue.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every message.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_filters
@click.pass_obj
def remove(
    context: CliContext, /, ids: tuple[str, ...], everything: bool, yes: bool, **filters: str | float | None
) -> None:
    """Take these messages out of the queue for good. Nobody is told: no bounce is sent."""
    wanted = _chosen(context, ids, everything, _filter(filters))
    is_asked = len(wanted) > len(ids) and not yes and sys.stdin.isatty()
    if is_asked and not click.confirm(f"Remove {_messages(len(wanted))} for good?", err=True):
        context.refuse("nothing was removed")
    count, running = queue_changes.remove(context, wanted)
    context.say(f"{_messages(count)} removed")
    if running:
        context.warn(f"{running} of them {_are(running)} being sent at this moment and may still arrive")


@queue.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every message.")
@click.option("--reason", metavar="TEXT", default="", help="Why; shown with the message.")
@_filters
@click.pass_obj
def hold(
    context: CliContext, /, ids: tuple[str, ...], everything: bool, reason: str, **filters: str | float | None
) -> None:
    """Do not try these messages until they are released.

    With --domain, --recipient or --state only the recipients that fit are held. The time while they are held does not
    count towards expiry.
    """
    chosen = _filter(filters)
    count, running = queue_changes.hold(context, _chosen(context, ids, everything, chosen), _recipients(chosen), reason)
    context.say(f"{_messages(count)} held")
    if running:
        context.warn(f"{running} of them {_are(running)} being sent at this moment and may still arrive")


@queue.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every message.")
@_filters
@click.pass_obj
def release(context: CliContext, /, ids: tuple[str, ...], everything: bool, **filters: str | float | None) -> None:
    """Let held messages be tried again, now."""
    chosen = _filter(filters)
    count = queue_changes.release(context, _chosen(context, ids, everything, chosen), _recipients(chosen))
    context.say(f"{_messages(count)} released")


@queue.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every message.")
@click.option("--reason", metavar="TEXT", default="", help="Why; the sender reads it.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_filters
@click.pass_obj
def bounce(
    context: CliContext,
    /,
    ids: tuple[str, ...],
    everything: bool,
    reason: str,
    yes: bool,
    **filters: str | float | None,
) -> None:
    """Give these messages up now; their senders get a report with your reason.

    With --domain, --recipient or --state only the recipients that fit are given up.
    """
    chosen = _filter(filters)
    wanted = _chosen(context, ids, everything, chosen)
    is_asked = len(wanted) > len(ids) and not yes and sys.stdin.isatty()
    if is_asked and not click.confirm(f"Bounce {_messages(len(wanted))}?", err=True):
        context.refuse("nothing was bounced")
    count, running = queue_changes.bounce(context, wanted, _recipients(chosen), reason)
    context.say(f"{_messages(count)} bounced")
    if running:
        context.warn(
            f"{running} {_are(running)} being sent at this moment: whom that concerns was left alone. Hold it, or "
            "bounce it again in a moment"
        )


# --- choosing ---------------------------------------------------------------------------------------------------------


def _filter(options: dict[str, str | float | None]) -> Filter:
    return Filter(**options)  # type: ignore[arg-type]  # click gives each option its own type


def _recipients(chosen: Filter) -> Choice:
    """Whom an order concerns within the chosen messages."""
    return Choice(chosen.domain, chosen.recipient, chosen.state or "")


def _found(context: CliContext, chosen: Filter, now: float) -> Iterator[StoredMessage]:
    """Messages that fit, oldest first; files that cannot be read are told and left."""
    spool = queue_changes.open_spool(context)
    try:
        names = spool.ids()
    except OSError as error:
        hint = reading_hint(context.config, spool.paths.messages)
        context.refuse(f"{error.filename}: cannot be read: {(error.strerror or str(error)).lower()}{hint}")
    for item in spool.load(names, may_set_aside=False):
        if isinstance(item, Unreadable):
            context.warn(queue_changes.told(item))
        elif chosen.takes(item, now):
            yield item


def _chosen(context: CliContext, ids: tuple[str, ...], everything: bool, chosen: Filter) -> list[str]:
    """The ids that are meant. Exactly one way of choosing; an id that is not there is refused."""
    if sum((bool(ids), everything, not chosen.is_empty)) != 1:
        raise click.UsageError("name message ids, or --all, or options that choose messages; one of the three")
    if not ids:
        return [message.queue_id for message in _found(context, chosen, time.time())]
    spool = queue_changes.open_spool(context)
    return [_message(spool, one).queue_id for one in dict.fromkeys(ids)]


def _message(spool: Spool, text: str) -> StoredMessage:
    queue_id = text.strip().upper()
    if not is_queue_id(queue_id):
        raise click.UsageError(f"{printable(text)} is not a queue id")
    refusal = f"{queue_id} is not in the queue"
    for item in spool.load((queue_id,), may_set_aside=False):
        if not isinstance(item, Unreadable):
            return item
        # A damaged state counts as none (`spool`, row 8): the message itself may come behind it.
        refusal = queue_changes.told(item)
    raise Refusal(refusal)


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _messages(count: int) -> str:
    return f"{count} message{'' if count == 1 else 's'}"
