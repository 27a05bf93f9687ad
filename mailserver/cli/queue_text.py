"""How queued messages look: as objects for programs, as rows and as a page for people. Pure."""

from collections.abc import Iterator
from datetime import UTC, datetime

from mailserver.mail.envelope import path_text
from mailserver.mail.reply import printable
from mailserver.store.spool import StoredMessage
from mailserver.store.spool_state import RecipientProgress

HEADINGS = ("ID", "AGE", "SIZE", "SENDER", "RECIPIENT", "STATE", "TRIES", "NEXT", "LAST WORDS")
_MAX_WORDS = 120


def as_object(message: StoredMessage, *, is_running: bool) -> dict[str, object]:
    """The fixed form of `queue list --json`: times are seconds since the epoch, null for never; sizes octets."""
    sender = message.envelope.reverse_path
    return {
        "id": message.queue_id,
        "sender": "" if sender is None else str(sender),
        "recipients": [
            {
                "address": str(recipient.mailbox),
                "state": one.shown_state,
                "attempts": one.attempts,
                "next_attempt": round(one.next_attempt, 3) if one.may_be_tried and one.next_attempt else None,
                "last_attempt": round(one.last_attempt, 3) if one.last_attempt else None,
                "last_reply": "" if one.reply is None else str(one.reply),
                "reason": one.reason,
                "host": one.host,
                "held_by": one.held_by if one.is_held else "",
                "held_reason": one.held_reason if one.is_held else "",
                "held_since": round(one.held_since, 3) if one.is_held else None,
            }
            for recipient, one in zip(message.envelope.recipients, message.progress, strict=True)
        ],
        "size": message.size_octets,
        "received_at": round(message.received_at, 3),
        "source": message.source,
        "is_running": is_running,
    }


def rows(message: StoredMessage, now: float, *, is_running: bool) -> Iterator[tuple[str, ...]]:
    """A row for each recipient; all columns in each, so that a pipe can cut them."""
    for recipient, one in zip(message.envelope.recipients, message.progress, strict=True):
        yield (
            message.queue_id,
            span(now - message.received_at),
            size(message.size_octets),
            path_text(message.envelope.reverse_path).strip("<>") or "<>",
            str(recipient.mailbox),
            "sending" if is_running and one.may_be_tried else one.shown_state,
            str(one.attempts),
            _next(one, now),
            _last_words(one)[:_MAX_WORDS],
        )


def page(message: StoredMessage, now: float, header: str, *, is_running: bool) -> Iterator[str]:
    """Everything about one message, line by line."""
    envelope = message.envelope
    yield f"Queue id:   {message.queue_id}{'   (being sent now)' if is_running else ''}"
    yield f"Received:   {moment(message.received_at)}, {span(now - message.received_at)} ago"
    if message.source:
        yield f"From:       {message.source}"
    yield f"Size:       {size(message.size_octets)}"
    yield f"Sender:     {path_text(envelope.reverse_path)}"
    if envelope.is_disowned:
        yield "            (forged, as its domain's SPF record says: nothing is reported to it)"
    if envelope.is_junk:
        yield "            (junk: a mailbox here gets it as such)"
    if envelope.envid is not None:
        yield f"ENVID:      {envelope.envid}"
    for recipient, one in zip(envelope.recipients, message.progress, strict=True):
        yield ""
        yield f"Recipient:  <{recipient.mailbox}>"
        if recipient.orcpt is not None and recipient.orcpt.address != str(recipient.mailbox):
            yield f"  written to:   {recipient.orcpt.address}"
        yield f"  state:        {one.shown_state}"
        if one.is_held:
            why = f": {one.held_reason}" if one.held_reason else ""
            yield f"  held:         since {moment(one.held_since)} by {one.held_by}{why}"
        yield f"  attempts:     {one.attempts}"
        if one.last_attempt:
            yield f"  last attempt: {moment(one.last_attempt)}{f' at {one.host}' if one.host else ''}"
        if one.reason:
            yield f"  reason:       {one.reason}"
        if one.reply is not None:
            yield f"  it said:      {one.reply}"
        if one.is_held:
            yield "  next attempt: none before it is released"
        elif one.is_waiting:
            yield f"  next attempt: {moment(one.next_attempt) if one.next_attempt > now else 'now'}"
        if one.report:
            yield f"  report:       {one.report}"
    if header:
        yield ""
        yield from header.splitlines()


def summary(count: int, octets: int) -> str:
    """The last line of a list, as `mailq` has it."""
    return f"{count} message{'' if count == 1 else 's'}, {size(octets)}"


def moment(seconds: float) -> str:
    """Local time with its offset."""
    return datetime.fromtimestamp(seconds, UTC).astimezone().isoformat(" ", "seconds")


def span(seconds: float) -> str:
    """`90s`, `12m`, `5h`, `3d`: one figure, enough for a list."""
    seconds = max(0.0, seconds)
    for unit, length, most in (("s", 1, 120), ("m", 60, 120), ("h", 3600, 48)):
        if seconds < length * most:
            return f"{int(seconds / length)}{unit}"
    return f"{int(seconds / 86400)}d"


def size(octets: int) -> str:
    """`512 B`, `4.1 kB`, `3.2 MB`."""
    if octets < 1000:
        return f"{octets} B"
    return f"{octets / 1000:.1f} kB" if octets < 1_000_000 else f"{octets / 1_000_000:.1f} MB"


def _next(one: RecipientProgress, now: float) -> str:
    if not one.may_be_tried:
        return "-"
    return f"in {span(one.next_attempt - now)}" if one.next_attempt > now else "now"


def _last_words(one: RecipientProgress) -> str:
    if one.is_held:
        return printable(f"held by {one.held_by}" + (f": {one.held_reason}" if one.held_reason else ""))
    return printable(str(one.reply) if one.reply is not None else one.reason)
