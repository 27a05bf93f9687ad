"""The part of a report that a person reads (RFC 3464 2, first part). Pure.

In this order: what happened, to whom, what the other server said in its own words, what it means, the one thing to do
and who can do it. Plain text, short paragraphs, lines of at most 72 characters where words allow it, no tables: it must
read well in any program and on a phone.

Recipients who failed for the same reason share one explanation, so that a report about thirty of them stays readable;
what is said of the same server in the same words is shown once. Every recipient's own words are in the next part.
"""

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from email.errors import MessageError
from email.header import decode_header, make_header
from email.utils import formatdate

from mailserver.mail.outcome import Stage
from mailserver.mail.reply import Reply, printable
from mailserver.relay.diagnosis import Explanation
from mailserver.relay.dsn_fields import MAX_WORD_OCTETS, Action, RecipientReport

WIDTH = 72
_INDENT = "    "
_MAX_SUBJECT_CHARS = 200
# Different replies that are shown for recipients with one explanation; the others only differ in wording.
_MAX_REPLIES = 3
_MAX_REPLY_LINES = 20

_OPENINGS = {
    Action.FAILED: (
        "Your message could not be delivered to {whom} below. It will not be tried again. "
        "Recipients who are not named here are not affected."
    ),
    Action.DELAYED: ("Your message has not been delivered to {whom} below yet. It is still being tried."),
    Action.DELIVERED: "Your message was delivered to {whom} below. You asked to be told.",
    Action.RELAYED: (
        "Your message was handed on to the mail server of {whom} below. That server does not report on delivery, so "
        "this is the last you will hear unless something goes wrong. You asked to be told."
    ),
    Action.EXPANDED: "Your message was handed on to the addresses behind {whom} below. You asked to be told.",
}
_OPENING_DOUBLE = (
    "A report of this server could not be delivered to {whom} below, who should have read that a message was not "
    "delivered. Nobody else is told. The report follows behind this text."
)

# What the other server did, by how far the attempt came.
_REFUSED = {
    Stage.MAIL: "the recipient's mail server refused mail from this sender",
    Stage.RCPT: "the recipient's mail server refused the address",
    Stage.DATA: "the recipient's mail server refused this message",
    Stage.EOD: "the recipient's mail server looked at the message and refused it",
}
_PUT_OFF = {
    Stage.MAIL: "the recipient's mail server does not take mail from this sender now",
    Stage.RCPT: "the recipient's mail server does not take mail for the address now",
    Stage.DATA: "the recipient's mail server does not take this message now",
    Stage.EOD: "the recipient's mail server does not take this message now",
}
_SMARTHOST = "the server through which this one sends its mail"
_NOT_LET_IN = "the recipient's mail server takes no mail from this one now"


@dataclass(frozen=True, slots=True)
class About:
    """By what the sender knows the message again. `subject` as it stands in the header, `sent_at` since the epoch.

    `age_s` is how old the message is now. `is_double`: the message was a report of ours. `is_whole_given_back`: not
    only its header follows.
    """

    queue_id: str
    sent_at: float
    subject: bytes = b""
    age_s: float = 0.0
    is_double: bool = False
    is_whole_given_back: bool = False

    def lines(self) -> Iterator[str]:
        """For the text."""
        subject = _readable(self.subject)
        if subject:
            yield from _wrapped(f"Subject: {subject}", _INDENT)
        yield f"{_INDENT}Sent: {formatdate(self.sent_at, localtime=True)}"


@dataclass(frozen=True, slots=True)
class Explained:
    """A recipient and why; None for what went well."""

    report: RecipientReport
    why: Explanation | None


def _readable(value: bytes) -> str:
    """A header value in plain letters (RFC 2047); what cannot be decoded stays as it is."""
    raw = " ".join(value[: 4 * _MAX_SUBJECT_CHARS].decode("utf-8", "replace").split())
    try:
        text = str(make_header(decode_header(raw)))
    except (MessageError, LookupError, ValueError):
        text = raw
    text = " ".join(text.split()) or raw
    text = printable(text.encode("utf-8", "replace").decode("utf-8"))
    return text if len(text) <= _MAX_SUBJECT_CHARS else text[:_MAX_SUBJECT_CHARS] + "..."


def human_part(reporter: str, explained: tuple[Explained, ...], about: About) -> str:
    """The text, LF line ends. All reports have the same action. `reporter` is our host name."""
    action = explained[0].report.action
    whom = "the recipient" if len(explained) == 1 else f"the {len(explained)} recipients"
    opening = _OPENING_DOUBLE if about.is_double else _OPENINGS[action]
    paragraphs = [_wrapped(f"This is the mail server {reporter}."), _wrapped(opening.format(whom=whom))]
    paragraphs.append(list(about.lines()))
    groups = _groups(explained, about)
    for number, (happened, members) in enumerate(groups):
        if number:
            paragraphs.append(["-" * 20])
        paragraphs += _group(happened, members)
    ending = f"In our log this message is called {about.queue_id}. The parts that follow are for programs"
    whose = "the report" if about.is_double else "your message"
    ending += f" and give back {'' if about.is_whole_given_back else 'the header of '}{whose}."
    paragraphs.append(_wrapped(ending))
    return "\n\n".join("\n".join(lines) for lines in paragraphs) + "\n"


def _groups(explained: tuple[Explained, ...], about: About) -> list[tuple[str, list[Explained]]]:
    """Those with the same story together, in the order of their first."""
    groups: dict[tuple[str, Explanation | None], list[Explained]] = {}
    for one in explained:
        happened = _happened(one.report, about) if one.why is not None else ""
        groups.setdefault((happened, one.why), []).append(one)
    return [(happened, members) for (happened, _), members in groups.items()]


def _group(happened: str, members: list[Explained]) -> Iterator[list[str]]:
    yield [line for one in members for line in _address(one.report)]
    first, why = members[0].report, members[0].why
    if happened:
        yield _wrapped(f"What happened: {happened}")
        yield from _silent_hosts(members)
    yield from _said(members)
    if why is None:
        return
    yield _wrapped(f"What it means: {why.means}")
    yield _wrapped(f"What to do: {why.remedy}")
    yield _wrapped(f"Who can do it: {why.who}")
    if why.later:
        yield _wrapped(f"If it takes too long, {why.later} can find out more.")
    if first.action is Action.DELAYED and first.retry_until:
        until = formatdate(first.retry_until, localtime=True)
        yield _wrapped(f"It is tried until {until}. If it cannot be delivered by then, you will be told.")


def _address(one: RecipientReport) -> Iterator[str]:
    yield from _wrapped(f"<{one.recipient.mailbox}>")
    if one.recipient.orcpt is not None and one.recipient.orcpt.address != str(one.recipient.mailbox):
        yield from _wrapped(f"(you wrote to {one.recipient.orcpt.address})", _INDENT)


def _silent_hosts(members: list[Explained]) -> Iterator[list[str]]:
    hosts = list(dict.fromkeys(one.report.host for one in members if one.report.reply is None and one.report.host))
    if hosts:
        more = f" and {len(hosts) - _MAX_REPLIES} more" if len(hosts) > _MAX_REPLIES else ""
        yield _wrapped(f"The server that was tried: {', '.join(hosts[:_MAX_REPLIES])}{more}.")


def _said(members: list[Explained]) -> Iterator[list[str]]:
    """The words of the other side; those that differ only in the recipient's address once."""
    shown: dict[tuple[str, str], RecipientReport] = {}
    for member in members:
        one = member.report
        if one.reply is not None:
            words = str(one.reply).lower().replace(str(one.recipient.mailbox).lower(), "")
            shown.setdefault((one.host, words), one)
    for one in list(shown.values())[:_MAX_REPLIES]:
        assert one.reply is not None
        by = f"the server {one.host}" if one.host else "the other server"
        whom = f" of {one.recipient.mailbox}" if len(shown) > 1 else ""
        yield _wrapped(f"What {by} said{whom}:")
        yield list(_quoted(one.reply))
    if len(shown) > _MAX_REPLIES:
        yield _wrapped(f"{len(shown) - _MAX_REPLIES} more replies like these are in the next part.")


def _quoted(reply: Reply) -> Iterator[str]:
    for number, line in enumerate(reply.lines[:_MAX_REPLY_LINES]):
        lead = f"{reply.code} {reply.enhanced} " if number == 0 and reply.enhanced else ""
        lead = lead or (f"{reply.code} " if number == 0 else "")
        yield from _wrapped(lead + line, _INDENT)
    if len(reply.lines) > _MAX_REPLY_LINES:
        yield f"{_INDENT}..."


# --- what happened ----------------------------------------------------------------------------------------------------


def _happened(one: RecipientReport, about: About) -> str:
    reason = _reason(one)
    times = "once" if one.attempts == 1 else f"{one.attempts} times"
    if one.is_expired:
        tried = (
            f"It was tried {times} in {duration(about.age_s)}"
            if one.attempts
            else f"It waited for {duration(about.age_s)}"
        )
        return f"{tried} and then given up. The last time: {reason}."
    if one.action is Action.DELAYED and one.attempts:
        return f"{reason[:1].upper()}{reason[1:]}. It was tried {times} so far."
    return f"{reason[:1].upper()}{reason[1:]}."


def _reason(one: RecipientReport) -> str:
    """Without a full stop, and as it stands within a sentence. Our own words where nobody else spoke."""
    ours = one.reason.rstrip(".") or "the message was not taken"
    if one.stage is Stage.CONNECT:
        whose = _SMARTHOST if one.is_smarthost else "the recipient's mail server"
        return f"{whose} cannot be reached ({ours})"
    if one.reply is not None and one.stage not in (None, Stage.LOCAL):
        if one.is_smarthost:
            return f"{_SMARTHOST} did not take it ({ours})"
        words = _REFUSED if one.reply.is_permanent else _PUT_OFF
        return words.get(one.stage, _NOT_LET_IN) if one.stage is not None else _NOT_LET_IN
    return ours


def duration(seconds: float) -> str:
    """In the largest whole unit: `5 days`."""
    for size, word in ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= size:
            count = round(seconds / size)
            return f"{count} {word}" if count == 1 else f"{count} {word}s"
    return "a moment"


def _wrapped(text: str, indent: str = "") -> list[str]:
    """Broken where there are blanks; a longer word is only cut when no line of mail could hold it."""
    cut = " ".join(
        word[start : start + MAX_WORD_OCTETS // 4]
        for word in printable(text).split(" ")
        for start in range(0, len(word) or 1, MAX_WORD_OCTETS // 4)
    )
    return textwrap.wrap(
        cut, WIDTH, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
