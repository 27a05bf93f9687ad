"""The part of a report that a person reads (RFC 3464 2, first part). Pure.

It says what happened, to whom, what the other server said in its own words, and what can be done. Plain text, lines of
at most 76 characters where words allow it, no markup: it must read well in any program and on a phone.
"""

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.utils import formatdate

from mailserver.mail.outcome import Stage
from mailserver.mail.reply import printable
from mailserver.relay.dsn_fields import MAX_WORD_OCTETS, Action, RecipientReport

_WIDTH = 76
_MAX_SUBJECT_CHARS = 200

SUBJECTS = {
    Action.FAILED: "Your message could not be delivered",
    Action.DELAYED: "Your message is delayed",
    Action.DELIVERED: "Your message was delivered",
    Action.RELAYED: "Your message was handed on",
    Action.EXPANDED: "Your message was handed on",
}

_OPENINGS = {
    Action.FAILED: (
        "Your message could not be delivered to {whom} below. It will not be tried again. "
        "Recipients who are not named here are not affected."
    ),
    Action.DELAYED: (
        "Your message has not been delivered to {whom} below yet. You need not do anything: it is still being tried. "
        "Please do not send it again."
    ),
    Action.DELIVERED: "Your message was delivered to {whom} below. You asked to be told.",
    Action.RELAYED: (
        "Your message was handed on to the mail server of {whom} below. That server does not report on delivery, so "
        "this is the last you will hear unless something goes wrong. You asked to be told."
    ),
    Action.EXPANDED: "Your message was handed on to the addresses behind {whom} below. You asked to be told.",
}

# By the first two digits' subject and detail (RFC 3463 3); the whole code first, then its subject.
_REMEDIES = {
    "1.1": "Check the address for spelling mistakes, or ask the recipient for the right one.",
    "1.2": "Check the part of the address behind the @ for spelling mistakes.",
    "1.10": "This domain takes no mail at all. Check the part of the address behind the @.",
    "2.1": "The mailbox is disabled. Reach the recipient in another way.",
    "2.2": "The mailbox is full. Reach the recipient in another way, and send the message again later.",
    "2.3": "Send a smaller message, or pass large files on in another way.",
    "3.4": "Send a smaller message, or pass large files on in another way.",
    "4.6": "The mail servers of the recipient send this message in a circle. Their administrator has to mend that.",
    "6.7": "The recipient's server cannot take addresses with letters outside ASCII. Ask for another address.",
    "7.1": "The recipient's server does not allow this message. What it said may tell why; if not, show this report to "
    "your mail administrator.",
}
_REMEDY_BY_SUBJECT = {
    "1": "Check the address for spelling mistakes, or ask the recipient for the right one.",
    "2": "The recipient's mailbox cannot take the message. Reach the recipient in another way.",
    "4": "Try again later; if it happens again, show this report to your mail administrator.",
    "7": "The recipient's server refused the message by its rules. Show this report to your mail administrator.",
}
_REMEDY_UNKNOWN = "What the other server said may tell more; if not, show this report to your mail administrator."
# For recipients that were given up after days, by how far the last attempt came.
_REMEDY_NO_HOST = (
    "Check the part of the address behind the @. If it is right, the mail server of the recipient is out of order, and "
    "its administrators have to mend that. Send the message again later, or reach the recipient in another way."
)
_REMEDY_OUR_WAY_OUT = (
    "Nothing is wrong with the address. Your mail administrator has to mend the way out of this server: show them this "
    "report, and send the message again when that is done."
)
_REMEDY_NOT_US = (
    "The recipient's server takes no mail from this one. Show this report to your mail administrator; what the server "
    "said tells why."
)
_REMEDY_PUT_OFF = (
    "The recipient's server asked to come back later, each time. Reach the recipient in another way, or send the "
    "message again."
)
_REMEDY_LOCAL = "Your mail administrator has to look at this mailbox: show them this report."
_EXPIRED_REMEDIES = {
    Stage.LOCAL: _REMEDY_LOCAL,
    Stage.DNS: _REMEDY_NO_HOST,
    Stage.CONNECT: _REMEDY_NO_HOST,
    Stage.BANNER: _REMEDY_NOT_US,
    Stage.EHLO: _REMEDY_NOT_US,
    Stage.STARTTLS: _REMEDY_OUR_WAY_OUT,
    Stage.AUTH: _REMEDY_OUR_WAY_OUT,
}

# Our own sentences are for those who look after mail; these say the same to those who write it.
_PLAIN = {
    Stage.CONNECT: "The recipient's mail server cannot be reached ({reason})",
    Stage.BANNER: "The recipient's mail server takes no mail from ours at the moment",
    Stage.EHLO: "The recipient's mail server takes no mail from ours at the moment",
    Stage.MAIL: "The recipient's mail server does not take mail from this sender",
    Stage.RCPT: "The recipient's mail server does not take mail for this address",
    Stage.DATA: "The recipient's mail server does not take this message",
    Stage.EOD: "The recipient's mail server does not take this message",
}


@dataclass(frozen=True, slots=True)
class About:
    """By what the sender knows the message again. `subject` as it stands in the header, `sent_at` since the epoch."""

    queue_id: str
    sent_at: float
    subject: bytes = b""

    def lines(self) -> Iterator[str]:
        """For the text."""
        subject = _readable(self.subject)
        if subject:
            yield from _wrapped(f"Subject: {subject}", "")
        yield f"Sent:    {formatdate(self.sent_at, localtime=True)}"


def _readable(value: bytes) -> str:
    """A header value in plain letters (RFC 2047); what cannot be decoded stays as it is."""
    raw = " ".join(value[: 4 * _MAX_SUBJECT_CHARS].decode("utf-8", "replace").split())
    try:
        text = str(make_header(decode_header(raw)))
    except (HeaderParseError, LookupError, ValueError):
        text = raw
    text = " ".join(text.split()) or raw
    text = printable(text.encode("utf-8", "replace").decode("utf-8"))
    return text if len(text) <= _MAX_SUBJECT_CHARS else text[:_MAX_SUBJECT_CHARS] + "..."


def human_part(reporter: str, reports: tuple[RecipientReport, ...], given_up_after_s: float, about: About) -> str:
    """The text, LF line ends. All reports have the same action. `given_up_after_s` is the age at expiry."""
    action = reports[0].action
    whom = "the recipient" if len(reports) == 1 else f"the {len(reports)} recipients"
    paragraphs = [f"This is the mail server {reporter}.", _OPENINGS[action].format(whom=whom)]
    lines = [line for text in paragraphs for line in (*_wrapped(text, ""), "")]
    lines += [*about.lines(), ""]
    for one in reports:
        lines += [*_about(one, given_up_after_s), ""]
    ending = f"In our log this message is called {about.queue_id}. The parts that follow are for programs"
    ending += " and show the beginning of your message." if action is Action.FAILED else "."
    lines += _wrapped(ending, "")
    return "\n".join(lines) + "\n"


def _about(one: RecipientReport, given_up_after_s: float) -> Iterator[str]:
    yield from _wrapped(f"<{one.recipient.mailbox}>", "")
    if one.recipient.orcpt is not None and one.recipient.orcpt.address != str(one.recipient.mailbox):
        yield from _wrapped(f"(you wrote to {one.recipient.orcpt.address})", "    ")
    if one.action in (Action.FAILED, Action.DELAYED):
        yield from _wrapped(_what_happened(one, given_up_after_s), "    ")
    if one.reply is not None:
        said = "The server said:" if not one.host else f"The server {one.host} said:"
        yield from _wrapped(said, "    ")
        for number, line in enumerate(one.reply.lines):
            lead = f"{one.reply.code} {one.reply.enhanced} " if number == 0 and one.reply.enhanced else ""
            lead = lead or (f"{one.reply.code} " if number == 0 else "")
            yield from _wrapped(lead + line, "        ")
    if one.action is Action.FAILED:
        yield from _wrapped(f"What can be done: {remedy(one)}", "    ")
    elif one.action is Action.DELAYED and one.retry_until:
        until = formatdate(one.retry_until, localtime=True)
        yield from _wrapped(f"It is tried until {until}; if it cannot be delivered by then, you will be told.", "    ")


def _what_happened(one: RecipientReport, given_up_after_s: float) -> str:
    reason = _reason(one)
    if one.is_expired:
        return f"It was tried for {_duration(given_up_after_s)} and then given up. The last time: {reason}."
    return f"{reason}."


def _reason(one: RecipientReport) -> str:
    """What happened, without a full stop. Plain words stand only where they say as much as ours, or the host speaks."""
    ours = one.reason.rstrip(".") or "the message was not taken"
    plain = _PLAIN.get(one.stage) if one.stage is not None else None
    if plain is not None and (one.reply is not None or one.stage is Stage.CONNECT):
        return plain.format(reason=ours)
    return ours[:1].upper() + ours[1:]


def remedy(one: RecipientReport) -> str:
    """One thing that can be done, and by whom."""
    if one.is_expired:
        # Our own code only says that time is over; the other side's says why.
        told = one.reply.enhanced if one.reply is not None else ""
        why = told[2:] if one.stage not in (Stage.STARTTLS, Stage.AUTH) else ""
        if _REMEDIES.get(why) and why != "7.1":
            return _REMEDIES[why]
        return _EXPIRED_REMEDIES.get(one.stage, _REMEDY_PUT_OFF) if one.stage is not None else _REMEDY_PUT_OFF
    subject, _, detail = one.status[2:].partition(".")
    return _REMEDIES.get(f"{subject}.{detail}") or _REMEDY_BY_SUBJECT.get(subject) or _REMEDY_UNKNOWN


def _duration(seconds: float) -> str:
    for size, word in ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= size:
            count = round(seconds / size)
            return f"{count} {word}" if count == 1 else f"{count} {word}s"
    return "a moment"


def _wrapped(text: str, indent: str) -> list[str]:
    """At most 76 columns where there are blanks; a longer word is only cut when no line of mail could hold it."""
    cut = " ".join(
        word[start : start + MAX_WORD_OCTETS // 4]
        for word in printable(text).split(" ")
        for start in range(0, len(word) or 1, MAX_WORD_OCTETS // 4)
    )
    return textwrap.wrap(
        cut, _WIDTH, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
