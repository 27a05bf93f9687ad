"""Delivery reports (RFC 3461, RFC 3464, RFC 6522, RFC 6533): values in, a `Report` out. Pure.

A report is a multipart/report of three parts: a text for people (`bounce_text`), the fields for programs
(`dsn_fields`), and what is given back of the message. The latter is put in verbatim, never parsed and written again.

What this module does not do: decide whether a report is due (`progress` does), or send it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate

from mailserver.mail.address import Mailbox
from mailserver.mail.envelope import Body, Envelope, Notify, Recipient, Ret
from mailserver.mail.headers import fields, header_end
from mailserver.mail.ids import QueueId
from mailserver.mail.reply import Reply
from mailserver.ports import Report
from mailserver.relay.bounce_subject import subject_field
from mailserver.relay.bounce_text import About, Explained, human_part
from mailserver.relay.diagnosis import Explanation, explain
from mailserver.relay.dsn_fields import Action, RecipientReport, needs_utf8, status_part

# RET=FULL is honored up to this size; a larger message comes back as its header section (RFC 3461 4.3 allows that).
MAX_FULL_OCTETS = 256 * 1024
MAX_HEADER_OCTETS = 64 * 1024
_MAX_LINE_OCTETS = 998
_MAX_MESSAGE_ID_OCTETS = 250


def _as_it_is(content: bytes) -> bytes:
    return content


@dataclass(frozen=True, slots=True)
class Reporter:
    """Who reports: our host name, and the mailbox in From, where an answer reaches a person.

    `sign` puts signatures before a whole report, within some milliseconds.
    """

    hostname: str
    sender: Mailbox
    sign: Callable[[bytes], bytes] = _as_it_is


@dataclass(frozen=True, slots=True)
class Subject:
    """The message that is reported on.

    `content` is its beginning, `OCTETS_WANTED` of it, or all of it when `is_whole`. `age_s` is how old it is now.
    `is_ours`: it is a report of ours about a message that was not delivered, and the postmaster is told instead of
    nobody.
    """

    queue_id: QueueId
    envelope: Envelope
    received_at: float
    content: bytes
    is_whole: bool
    age_s: float = 0.0
    is_ours: bool = False


# So much of a message is read before `make_report`.
OCTETS_WANTED = MAX_FULL_OCTETS + 1


def make_report(
    reporter: Reporter, queue_id: QueueId, subject: Subject, reports: tuple[RecipientReport, ...], now: float
) -> Report:
    """One report about some recipients, all with the same action; `now` is seconds since the epoch.

    The message must have a reverse-path: nothing is ever reported to the null one (RFC 5321 4.5.5), but a report of
    ours that reached nobody is reported to the postmaster. The report itself has the null reverse-path, asks for no
    reports (RFC 3461 6.2), has CRLF line ends and no line over 998 octets but what was given back verbatim.
    """
    target = reporter.sender if subject.is_ours else subject.envelope.reverse_path
    assert target is not None, "a report to the null reverse-path was asked for"
    assert reports, "a report is about somebody"
    action = reports[0].action
    assert all(one.action is action for one in reports), "one report has one action"
    is_utf8 = needs_utf8(subject.envelope, reports)
    returned = _returned(subject, action)
    about = About(
        subject.queue_id,
        subject.received_at,
        _field(subject.content, b"subject"),
        age_s=subject.age_s,
        is_double=subject.is_ours,
        is_whole_given_back=returned.is_full,
    )
    explained = _explained(reports)
    causes = frozenset(one.why.cause for one in explained if one.why is not None)
    parts = [
        _text_part(human_part(reporter.hostname, explained, about)),
        _part(
            "message/global-delivery-status" if is_utf8 else "message/delivery-status",
            status_part(reporter.hostname, subject.queue_id, subject.envelope, subject.received_at, reports),
        ),
        _part(_returned_type(returned, is_utf8), returned.octets),
    ]
    boundary = _boundary(queue_id, parts)
    title = subject_field(reports, causes, is_double=subject.is_ours)
    head = _header(reporter, queue_id, target, title, _message_id(subject.content), boundary, now)
    if not all(part.isascii() for part in parts):
        head += b"Content-Transfer-Encoding: 8bit\r\n"
    delimiter = b"--" + boundary.encode("ascii")
    content = (
        head
        + b"\r\nThis is a delivery report in MIME format (RFC 3464).\r\n\r\n"
        + b"".join(delimiter + b"\r\n" + part + b"\r\n" for part in parts)
        + delimiter
        + b"--\r\n"
    )
    content = reporter.sign(content)
    envelope = Envelope(
        reverse_path=None,
        recipients=(Recipient(target, frozenset({Notify.NEVER})),),
        body=Body.SEVENBIT if content.isascii() else Body.EIGHTBITMIME,
        smtputf8=not head.isascii(),
        size_octets=len(content),
        # What had to be kept from others on its way there has to be on its way back (RFC 8689 5).
        require_tls=subject.envelope.require_tls,
    )
    return Report(queue_id, envelope, content)


def _explained(reports: tuple[RecipientReport, ...]) -> tuple[Explained, ...]:
    """Each with its explanation; what was said in the same words, but for the recipient's address, is read once."""
    known: dict[RecipientReport, Explanation] = {}
    explained: list[Explained] = []
    for one in reports:
        if one.action not in (Action.FAILED, Action.DELAYED):
            explained.append(Explained(one, None))
            continue
        key = replace(one, recipient=reports[0].recipient, reply=_impersonal(one), last_attempt=0.0, retry_until=0.0)
        if key not in known:
            known[key] = explain(one)
        explained.append(Explained(one, known[key]))
    return tuple(explained)


def _impersonal(one: RecipientReport) -> Reply | None:
    """The reply without the recipient's address."""
    if one.reply is None:
        return None
    address = str(one.recipient.mailbox)
    return replace(one.reply, lines=tuple(line.replace(address, "") for line in one.reply.lines))


def is_report_of_failure(content: bytes, queue_id: QueueId, reporter: Reporter) -> bool:
    """Whether this message of the queue is a bounce that `make_report` made, by its beginning.

    A report's Message-ID holds its own queue id, which nobody outside can know beforehand.
    """
    is_ours = _message_id(content) == f"<{queue_id}@{reporter.hostname}>"
    return is_ours and f"\r\nAction: {Action.FAILED.value}\r\n".encode("ascii") in content


def _header(
    reporter: Reporter, queue_id: QueueId, target: Mailbox, title: str, message_id: str, boundary: str, now: float
) -> bytes:
    lines = [
        f"Date: {formatdate(now, localtime=True)}",
        f"From: Mail Delivery System <{reporter.sender}>",
        f"To: <{target}>",
        title,
        f"Message-ID: <{queue_id}@{reporter.hostname}>",
        "Auto-Submitted: auto-replied",  # RFC 3834: vacation programs must not answer
        "MIME-Version: 1.0",
        "Content-Type: multipart/report; report-type=delivery-status;",
        f'\tboundary="{boundary}"',
    ]
    if message_id:
        # Mail programs then show the report beneath the message it is about (RFC 5322 3.6.4).
        fold = "\r\n " if len(message_id) > 60 else " "
        lines[5:5] = [f"In-Reply-To:{fold}{message_id}", f"References:{fold}{message_id}"]
    return "".join(f"{line}\r\n" for line in lines).encode("utf-8", "replace")


def _message_id(content: bytes) -> str:
    """The message's own id, when it has one that may stand in a header as it is."""
    value = _field(content, b"message-id")
    is_plain = value.startswith(b"<") and value.endswith(b">") and all(33 <= octet < 127 for octet in value)
    return value.decode("ascii") if is_plain and len(value) <= _MAX_MESSAGE_ID_OCTETS else ""


def _field(content: bytes, name: bytes) -> bytes:
    """The value of the first field of this name; empty for none."""
    section = content[: header_end(content)][:MAX_HEADER_OCTETS]
    return next((field.value for field in fields(section) if field.name == name), b"")


# --- parts ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Returned:
    octets: bytes
    is_full: bool


def _returned(subject: Subject, action: Action) -> _Returned:
    """RFC 3461 4.3: RET is about failures; everything else, and a message too large, gives back the header section.

    So does a message with REQUIRETLS: the report shows its content to nobody (RFC 8689 5).
    """
    wants_full = action is Action.FAILED and (subject.envelope.ret is Ret.FULL or subject.is_ours)
    wants_full = wants_full and not subject.envelope.require_tls
    is_small = subject.is_whole and len(subject.content) <= MAX_FULL_OCTETS
    if wants_full and is_small and not _has_long_line(subject.content):
        return _Returned(subject.content, is_full=True)
    section = subject.content[: header_end(subject.content)]
    kept: list[bytes] = []
    room = MAX_HEADER_OCTETS
    for field in fields(section):
        # A line that no transport has to carry is left out: the report must arrive everywhere.
        if _has_long_line(field.raw):
            continue
        room -= len(field.raw)
        if room < 0:
            break
        kept.append(field.raw)
    return _Returned(b"".join(kept), is_full=False)


def _has_long_line(octets: bytes) -> bool:
    return any(len(line) > _MAX_LINE_OCTETS for line in octets.split(b"\r\n"))


def _returned_type(returned: _Returned, is_utf8: bool) -> str:
    """RFC 6522 3 and 4; the global ones where there is UTF-8 in a header section (RFC 6533 5)."""
    header = returned.octets[: header_end(returned.octets)]
    is_global = is_utf8 and not header.isascii()
    if returned.is_full:
        return "message/global" if is_global else "message/rfc822"
    return "message/global-headers" if is_global else "text/rfc822-headers"


def _text_part(text: str) -> bytes:
    part = EmailMessage(policy=SMTP)
    part.set_content(text, charset="utf-8", cte="7bit" if text.isascii() else "quoted-printable")
    del part["MIME-Version"]
    return part.as_bytes()


def _part(media_type: str, octets: bytes) -> bytes:
    encoding = "" if octets.isascii() else "Content-Transfer-Encoding: 8bit\r\n"
    return f"Content-Type: {media_type}\r\n{encoding}\r\n".encode("ascii") + octets


def _boundary(queue_id: QueueId, parts: list[bytes]) -> str:
    """A line that is in none of the parts; the queue id is new, so one round is the rule."""
    boundary = f"=_{queue_id}"
    while any(boundary.encode("ascii") in part for part in parts):
        boundary += "_"
    return boundary
