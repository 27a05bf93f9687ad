"""`mailserver suppression`: recipients to whom nothing is sent, because their servers keep saying that there is no such
mailbox. Through the running server, or under the state lock without it."""

import sys
import time
from collections.abc import Callable

import click

from mailserver.cli.context import CliContext, mailbox_argument
from mailserver.cli.queue import age_option
from mailserver.cli.queue_changes import change_list
from mailserver.cli.queue_text import moment
from mailserver.maillog import MailEvent, Suppressed, Unsuppressed
from mailserver.store.control_socket import Request
from mailserver.store.files import Files
from mailserver.store.spool_json import Damaged, NewerFormat
from mailserver.store.suppression import Counted, Listed, SuppressionFile, SuppressionList

_HEADINGS = ("ADDRESS", "STATE", "SINCE", "UNTIL", "BY", "WHY")


@click.group()
def suppression() -> None:
    """Recipients to whom nothing is sent.

    Their servers said again and again that there is no such mailbox ([relay] suppress_after), or somebody said so.
    """


@suppression.command("list")
@click.option("--all", "with_counted", is_flag=True, help="Also those that were refused, and not often enough yet.")
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects; times are seconds since the epoch.")
@click.pass_obj
def list_(context: CliContext, with_counted: bool, as_json: bool) -> None:
    """Who is on the list, since when, until when, and why."""
    now = time.time()
    found = _read(context)
    listed, counted = found.listed(now), found.counted(now) if with_counted else []
    if as_json:
        context.say_json([_listed_object(one) for one in listed] + [_counted_object(one) for one in counted])
        return
    rows = [
        (one.address, "listed", moment(one.since), moment(one.until) if one.until else "-", one.by, _why(one))
        for one in listed
    ]
    rows += [
        (one.address, "counting", moment(one.refusals[0][1]), "-", "refusals", f"{len(one.refusals)} so far")
        for one in counted
    ]
    if rows or not sys.stdout.isatty():
        context.say_table(_HEADINGS, rows)
    else:
        context.say("the suppression list is empty")


@suppression.command()
@click.argument("address")
@click.option("--reason", metavar="TEXT", default="", help="Why; the sender reads it.")
@click.option("--for", "for_s", metavar="TIME", callback=age_option, help="How long, such as 30d; else without end.")
@click.pass_obj
def add(context: CliContext, address: str, reason: str, for_s: float | None) -> None:
    """Send nothing to ADDRESS; messages to it come back at once."""
    mailbox = mailbox_argument(address)
    now = time.time()
    until = now + for_s if for_s else 0.0
    about = {"address": str(mailbox), "reason": reason, "until": str(until)}

    def alone(found: SuppressionList) -> list[MailEvent]:
        found.add(mailbox, context.operator, reason, now, until)
        return [Suppressed("", str(mailbox), context.operator, reason)]

    _change(context, Request("suppression-add", about=about), alone)
    context.say(f"nothing is sent to {mailbox}" + (f" before {moment(until)}" if until else ""))


@suppression.command()
@click.argument("address")
@click.pass_obj
def remove(context: CliContext, address: str) -> None:
    """Send to ADDRESS again, and forget its refusals. Exit status 1 when it was not there."""
    mailbox = mailbox_argument(address)

    def alone(found: SuppressionList) -> list[MailEvent]:
        return [Unsuppressed(str(mailbox), context.operator)] if found.remove(mailbox) else []

    if not _change(context, Request("suppression-remove", about={"address": str(mailbox)}), alone):
        context.refuse(f"{mailbox} is not on the suppression list")
    context.say(f"{mailbox} is off the suppression list")


def _change(context: CliContext, request: Request, change: Callable[[SuppressionList], list[MailEvent]]) -> int:
    """How many entries changed."""

    def alone() -> list[MailEvent]:
        found = _read(context)
        events = change(found)
        if events:
            try:
                _file(context).write(found.encode(time.time()))
            except OSError as error:
                context.refuse(f"the suppression list could not be written: {error.strerror} ({error.filename})")
        return events

    return change_list(context, request, alone)


def _file(context: CliContext) -> SuppressionFile:
    return SuppressionFile(context.config.storage.state, Files())


def _read(context: CliContext) -> SuppressionList:
    found = SuppressionList(context.config.relay.suppress_after, context.config.relay.suppress_for)
    file = _file(context)
    try:
        file.read(found)
    except (Damaged, NewerFormat) as error:
        context.refuse(f"{file.path}: {error}")
    except OSError as error:
        context.refuse(f"{file.path}: {error.strerror}")
    return found


def _why(one: Listed) -> str:
    return ": ".join(part for part in (one.reason, "" if one.reply is None else str(one.reply)) if part)


def _listed_object(one: Listed) -> dict[str, object]:
    return {
        "address": one.address,
        "state": "listed",
        "since": round(one.since, 3),
        "until": round(one.until, 3) if one.until else None,
        "by": one.by,
        "reason": one.reason,
        "last_reply": "" if one.reply is None else str(one.reply),
        "host": one.host,
    }


def _counted_object(one: Counted) -> dict[str, object]:
    return {
        "address": one.address,
        "state": "counting",
        "refusals": [{"id": queue_id, "at": round(at, 3)} for queue_id, at in one.refusals],
    }
