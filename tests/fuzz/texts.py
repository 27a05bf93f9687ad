"""Targets: headers, content on its way in and out, replies and bounces that are explained, the reports we write."""

import email
import email.policy

from mailserver.mail.envelope import Envelope, OriginalRecipient, Recipient
from mailserver.mail.headers import count_fields, fields, fields_named, first_value, header_end
from mailserver.mail.ids import QueueId
from mailserver.mail.outcome import Stage
from mailserver.mail.reply import Reply, printable
from mailserver.policy.causes.classify import classify
from mailserver.policy.causes.evidence import Evidence
from mailserver.relay.bounce import MAX_FULL_OCTETS, Reporter, Subject, make_report
from mailserver.relay.dsn_fields import Action, RecipientReport
from mailserver.session.submission_header import completed, from_refusal
from mailserver.store.journal_facts import MAX_TEXT_CHARS, decoded
from mailserver.wire.data import ContentCheck
from mailserver.wire.dot_stuffing import BareNewline, DotStuffer
from mailserver.wire.pop3_content import ContentEncoder
from mailserver.wire.smtp_replies import ReplyFault, ReplyParser
from tests.fakes.directory import MemoryDirectory, box
from tests.fuzz.cutting import cut

_ALICE = box("alice@example.org")
_DIRECTORY = MemoryDirectory()
_ACCOUNT = _DIRECTORY.account(_ALICE)
_QUEUE_ID = QueueId("25X8TJJVS6600")
_NOW = 1_750_000_000.0


def headers(octets: bytes) -> None:
    """A message's beginning: the section ends where it should, and its fields are slices of it."""
    end = header_end(octets)
    section = octets[:end]
    assert not end or section.endswith(b"\r\n")
    assert header_end(section) == end, "a section is its own header section"
    position = 0
    names: list[bytes] = []
    for field in fields(section):
        assert field.start >= position
        assert section[field.start : field.start + len(field.raw)] == field.raw
        position = field.start + len(field.raw)
        names.append(field.name)
        assert b"\n" not in field.value.replace(b"\n", b"", field.raw.count(b"\n") - field.raw.count(b"\r\n"))
    for name in (b"from", b"received", b"subject"):
        found = list(fields_named(section, name))
        assert len(found) <= count_fields(section, name)
        assert len(found) <= names.count(name)
        assert first_value(section, name) == (found[0].value if found else b"")
    assert _ACCOUNT is not None
    from_refusal(section, _ACCOUNT, _DIRECTORY)
    added = completed(section, sender=_ALICE, queue_id=_QUEUE_ID, hostname="mail.example.org", now=_NOW)
    assert len(added) <= len(section) + 300
    text = decoded(first_value(section, b"subject"))
    assert len(text) <= 2 * len(section) + MAX_TEXT_CHARS


def content_out(octets: bytes) -> None:
    """Two octets of sizes, one of TOP's lines; then content for POP3 and for the next hop: the same at any cut."""
    steering, content = octets[:3].ljust(3, b"\0"), octets[3:]
    pieces = list(cut(content, steering[:2]))
    for lines in (None, steering[2]):
        whole, parts = ContentEncoder(lines), ContentEncoder(lines)
        out = whole.encode(content) + whole.finish()
        assert out == b"".join(map(parts.encode, pieces)) + parts.finish()
        assert whole.octets == parts.octets
        _check_response(out, whole.octets)
    assert _stuffed([content]) == _stuffed(pieces)


def _check_response(out: bytes, counted: int) -> None:
    """RFC 1939 3, as a client reads it: the terminator stands at the end and nowhere else."""
    assert (b"\r\n" + out).find(b"\r\n.\r\n") == len(out) - 3
    assert out.count(b"\n") == out.count(b"\r\n")
    undone = (b"\r\n" + out[:-3]).replace(b"\r\n.", b"\r\n")[2:]
    assert len(undone) == counted


def _stuffed(pieces: list[bytes]) -> bytes | None:
    """What goes to the next hop; None when it must not."""
    stuffer = DotStuffer()
    try:
        out = b"".join(map(stuffer.feed, pieces)) + stuffer.finish()
    except BareNewline:
        return None
    assert (b"\r\n" + out).find(b"\r\n.\r\n") == len(out) - 3
    assert out.count(b"\r") == out.count(b"\n") == out.count(b"\r\n")
    return out


def content_check(octets: bytes) -> None:
    """Two octets of sizes, one of flags; then content in chunks: faults and size are the same at any cut."""
    steering, content = octets[:3].ljust(3, b"\0"), octets[3:]
    repairs, most = bool(steering[2] & 1), 50 if steering[2] & 2 else 1_000_000
    found = []
    for pieces in ([content], cut(content, steering[:2])):
        check = ContentCheck(max_octets=most, repairs=repairs)
        out = b"".join(map(check.take_any, pieces)) + check.finish()
        assert len(out) <= most
        found.append((check.size_octets, check.faults, None if check.faults else out))
    assert found[0] == found[1]
    if (out_whole := found[0][2]) is not None:
        assert out_whole.count(b"\r") == out_whole.count(b"\n") == out_whole.count(b"\r\n")
        assert not out_whole or out_whole.endswith(b"\r\n")


def bounces(octets: bytes) -> None:
    """What `mailserver explain` reads: a reply, or a whole message that somebody pasted."""
    diagnosis = classify(Evidence(octets.decode("utf-8", "replace")))
    assert printable(diagnosis.words) == diagnosis.words
    assert diagnosis.evidence
    assert diagnosis.plain
    assert diagnosis.remedy
    assert sum(len(signal.found) for signal in diagnosis.evidence) <= 20 * (len(octets) + 100)


def reports(octets: bytes) -> None:
    """One octet of flags; then the words of a server, a NUL, and the message: the report that we write about it."""
    flags, rest = octets[:1].ljust(1, b"\0")[0], octets[1:]
    words, _, content = rest.partition(b"\0")
    parser = ReplyParser()
    parser.receive(words)
    said = parser.next_reply()
    if said is None or isinstance(said, ReplyFault):
        said = Reply(550, "", (words.decode("latin-1"),))
    action = (Action.FAILED, Action.DELAYED, Action.DELIVERED, Action.FAILED)[flags & 3]
    host = words[:40].decode("latin-1") if flags & 4 else "mx.example.net[192.0.2.1]"
    original = OriginalRecipient("rfc822", content[:60].decode("latin-1")) if flags & 8 else None
    one = RecipientReport(
        Recipient(box("bob@example.net"), orcpt=original),
        action,
        enhanced=said.enhanced,
        reason=words[:100].decode("latin-1"),
        reply=None if flags & 16 else said,
        host=host,
        stage=list(Stage)[flags >> 5],
        attempts=1,
        is_smarthost=bool(flags & 32),
    )
    subject = Subject(_QUEUE_ID, Envelope(_ALICE, (one.recipient,)), _NOW, content, is_whole=True)
    report = make_report(Reporter("mail.example.org", _ALICE), QueueId("25X8TJJVS6601"), subject, (one,), _NOW + 60)
    _check_report(report.content, content)


def _check_report(report: bytes, content: bytes) -> None:
    """Whatever the words were: three parts, our own fields, no line end that is not CRLF but in what is given back."""
    assert len(report) <= 40_000 + 2 * min(len(content), MAX_FULL_OCTETS)
    own = report.replace(content, b"") if content else report
    if content.count(b"\r") == content.count(b"\n") == content.count(b"\r\n"):
        assert own.count(b"\r") == own.count(b"\n") == own.count(b"\r\n")
    assert b"\0" not in own or b"\0" in content
    message = email.message_from_bytes(report, policy=email.policy.compat32)
    parts = message.get_payload()
    assert isinstance(parts, list)
    assert len(parts) == 3, "somebody's words made a part of their own"
    assert message.get_content_type() == "multipart/report"
    status = parts[1].get_payload()
    assert isinstance(status, list)
    assert len(status) == 2, "somebody's words made a block of fields of their own"
    assert len(status[1].get_all("Status", [])) == 1
    assert len(status[1].get_all("Action", [])) == 1
