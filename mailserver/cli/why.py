"""`mailserver why`: what became of a message, or why somebody was refused. Reads the journal; changes nothing."""

import sys
import time
from typing import NoReturn

import click

from mailserver.cli.context import CliContext
from mailserver.cli.history import ask_history
from mailserver.cli.period import seconds
from mailserver.cli.queue_text import moment
from mailserver.cli.why_life import Findings, Life, Question, question, search
from mailserver.cli.why_now import queued_message, standings
from mailserver.cli.why_text import REFUSALS, as_object, attempt_line, event_object, page
from mailserver.mail.reply import printable
from mailserver.store.control_socket import ControlFailed, ControlUnavailable, Request, ask
from mailserver.store.journal_format import journal_path
from mailserver.store.journal_read import Covered, JournalReader

_FLUSH_S = 5.0


@click.command()
@click.argument("text", metavar="ADDRESS|QUEUE-ID|MESSAGE-ID|IP-ADDRESS")
@click.option("--since", "since_s", metavar="TIME", help="Only what began within this time, such as 2d.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=10, show_default=True, help="Messages, at most.")
@click.option("--json", "as_json", is_flag=True, help="Print one object; times are seconds since the epoch.")
@click.pass_obj
def why(context: CliContext, /, text: str, since_s: str | None, limit: int, as_json: bool) -> None:
    """Where is a message? Its whole life, and what happens next.

    An address is looked for as sender and as recipient, and among those who were refused; an IP address as the client
    that came from there; a domain as one that mail waited for. The newest comes first.
    """
    now = time.time()
    since = 0.0 if since_s is None else now - seconds(since_s)
    asked = question(text)
    is_fresh = _flush(context)
    findings, covered, lost = _searched(context, asked, since, limit)
    lives = findings.messages
    if asked.queue_id and not lives:
        # Not in the journal, yet perhaps in the queue.
        lives = [Life(asked.queue_id)]
    told = [(life, queued_message(context.config, life.queue_id)) for life in lives]
    told = [(life, queued) for life, queued in told if life.entries or queued is not None]
    messages = [(life, queued, standings(context.config, life, queued, now)) for life, queued in told]
    if as_json:
        context.say_json(
            {
                "asked": asked.text,
                "searched": list(asked.kinds),
                "covers": _covers_object(covered, lost),
                "messages": [as_object(life, standing) for life, _, standing in messages],
                "attempts": [event_object(entry, "") for entry in findings.attempts],
                "has_more": findings.has_more,
            }
        )
    elif messages or findings.attempts:
        for number, (life, queued, standing) in enumerate(messages):
            context.say("\n" * bool(number) + "\n".join(printable(line) for line in page(life, standing, queued)))
        if findings.attempts:
            are_refusals = all(entry.word in REFUSALS for entry in findings.attempts)
            context.say("\n" * bool(messages) + f"{'Refused' if are_refusals else 'Besides'}, newest first:")
            for entry in findings.attempts:
                context.say(printable(attempt_line(entry)))
        if findings.has_more:
            context.say(f"\nThere is more: raise --limit (now {limit}), or ask for a queue id.")
    if not messages and not findings.attempts:
        if as_json:
            sys.exit(1)
        _nothing(context, asked, since, covered, lost, is_fresh)


def _flush(context: CliContext) -> bool:
    """Have a running server write down its last second; whether nothing can be missing now."""
    try:
        ask(context.config.storage.state, Request("journal-flush"), _FLUSH_S)
    except ControlUnavailable:
        return True
    except (ControlFailed, ValueError):
        return False
    return True


def _searched(context: CliContext, asked: Question, since: float, limit: int) -> tuple[Findings, Covered | None, int]:
    def ask(reader: JournalReader) -> tuple[Findings, Covered | None, int]:
        return search(reader, asked, since, limit), reader.covered(), reader.losses(since)

    found = ask_history(context, JournalReader, journal_path(context.config.storage.state), ask)
    return found or (Findings([], [], has_more=False), None, 0)


def _covers_object(covered: Covered | None, lost: int) -> dict[str, object]:
    if covered is None:
        return {"from": None, "to": None, "lost": lost}
    return {"from": round(covered.first, 3), "to": round(covered.last, 3), "lost": lost}


def _nothing(
    context: CliContext, asked: Question, since: float, covered: Covered | None, lost: int, is_fresh: bool
) -> NoReturn:
    """What was looked for, and what there was to look in."""
    lines = [f"nothing was found about {printable(asked.text)}, looked for as {' and '.join(asked.kinds)}"]
    if since:
        lines.append(f"and only since {moment(since)} (--since)")
    settings = context.config.journal
    if not settings.enabled:
        lines.append("no history is kept: journal.enabled is false")
    if covered is None:
        lines.append("the journal is empty: nothing has happened since it was begun")
    else:
        days = settings.keep / 86400
        lines.append(
            f"the journal covers {moment(covered.first)} to {moment(covered.last)}; it keeps {days:g} days at most"
        )
    if "Message-ID" in asked.kinds and not settings.message_ids:
        lines.append("Message-IDs are not kept: journal.message_ids is false")
    if lost:
        lines.append(f"{lost} events of that time could not be noted")
    if not is_fresh:
        lines.append("the server did not answer, so its last second may be missing")
    if covered is not None and not asked.queue_id:
        lines.append("a message that never reached this server is not in it: ask its sender what the other side said")
    context.refuse("\n  ".join(lines))
