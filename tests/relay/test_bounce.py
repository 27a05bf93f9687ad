"""Reports, read back by Python's `email` as a mail program would, field by field."""

import email
import email.policy
from email.message import Message

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mail.address import Mailbox
from mailserver.mail.envelope import Body, Envelope, Notify, OriginalRecipient, Recipient, Ret
from mailserver.mail.headers import header_end
from mailserver.mail.ids import QueueId
from mailserver.mail.outcome import Stage
from mailserver.mail.reply import Reply
from mailserver.relay.bounce import MAX_FULL_OCTETS, Reporter, Subject, make_report
from mailserver.relay.dsn_fields import Action, RecipientReport
from tests.fakes.directory import box

NOW = 1_750_000_000.0
ID, ABOUT = QueueId("000000000000R"), QueueId("0000000000001")
REPORTER = Reporter("mail.example.org", box("postmaster@example.org"))
CONTENT = (
    b"Received: from desk\r\n\tby mail.example.org\r\nFrom: Alice <alice@example.org>\r\nSubject: invoice 12\r\n"
    b"Message-ID: <77@desk.example.org>\r\n\r\nDear Bob,\r\n.dots and  blanks stay \r\n"
)
NO = RecipientReport(
    Recipient(box("bob@example.net")),
    Action.FAILED,
    enhanced="5.1.1",
    reason="the recipient was refused",
    reply=Reply(550, "5.1.1", ("<bob@example.net>: no such user", "see https://example.net/help")),
    host="mx.example.net[192.0.2.1]",
    stage=Stage.RCPT,
    last_attempt=NOW - 5,
)


def made(*reports, content=CONTENT, is_whole=True, sender="alice@example.org", age_s=0.0, **about):
    envelope = Envelope(box(sender), tuple(one.recipient for one in reports), **about)
    subject = Subject(ABOUT, envelope, NOW - 90, content, is_whole, age_s)
    report = make_report(REPORTER, ID, subject, reports, NOW)
    assert_sound(report.content)
    return report, email.message_from_bytes(report.content, policy=email.policy.SMTP)


def assert_sound(content):
    """What our own inbound checks ask for (a report must not be refused by ourselves), and RFC 5322 2.1.1."""
    assert content.count(b"\n") == content.count(b"\r\n") == content.count(b"\r")
    assert b"\0" not in content
    assert content.endswith(b"\r\n")
    assert header_end(content) > 0
    assert max(len(line) for line in content.split(b"\r\n")) <= 998


def blocks(message) -> list[Message]:
    """The field blocks of the second part; `email` takes only message/delivery-status apart by itself."""
    part = message.get_payload(1)
    if part.get_content_type() == "message/delivery-status":
        return part.get_payload()
    octets = part.as_bytes().partition(b"\r\n\r\n")[2]
    return [email.message_from_bytes(block, policy=email.policy.SMTPUTF8) for block in octets.split(b"\r\n\r\n")]


def text(message) -> str:
    return message.get_payload(0).get_content().replace("\r\n", "\n")


def test_the_outside_of_a_report():
    report, message = made(NO)
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    assert message["From"] == "Mail Delivery System <postmaster@example.org>"
    assert message["To"] == "alice@example.org"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["Subject"] == "Not delivered: bob@example.net (no such mailbox)"
    assert message["Message-ID"] == f"<{ID}@mail.example.org>"
    assert message["References"] == message["In-Reply-To"] == "<77@desk.example.org>"
    assert message["Date"].datetime.timestamp() == NOW
    assert not message.defects
    assert [part.get_content_type() for part in message.iter_parts()] == [
        "text/plain",
        "message/delivery-status",
        "text/rfc822-headers",
    ]
    assert report.queue_id == ID
    assert report.envelope.reverse_path is None
    assert report.envelope.recipients == (Recipient(box("alice@example.org"), frozenset({Notify.NEVER})),)
    assert report.envelope.body is Body.SEVENBIT


def test_the_fields_for_programs():
    orcpt = OriginalRecipient("rfc822", "robert@example.org")
    second = RecipientReport(Recipient(box("eve@example.com"), orcpt=orcpt), Action.FAILED, reason="no way there")
    _, message = made(NO, second, envid="QQ314159")
    about, bob, eve = blocks(message)
    assert about["Original-Envelope-Id"] == "QQ314159"
    assert about["Reporting-MTA"] == "dns; mail.example.org"
    assert about["Arrival-Date"].endswith(("+0000", "-0000")) or about["Arrival-Date"][-5] in "+-"
    assert bob["Final-Recipient"] == "rfc822; bob@example.net"
    assert bob["Original-Recipient"] is None
    assert (bob["Action"], bob["Status"]) == ("failed", "5.1.1")
    assert bob["Remote-MTA"] == "dns; mx.example.net", "a domain or a literal (RFC 3464 2.1.2), and nothing more"
    diagnostic = " ".join(bob["Diagnostic-Code"].split())
    assert diagnostic == "smtp; 550 5.1.1 <bob@example.net>: no such user see https://example.net/help"
    assert bob["Final-Log-ID"] == ABOUT
    assert email.utils.parsedate_to_datetime(bob["Last-Attempt-Date"]).timestamp() == NOW - 5
    assert eve["Original-Recipient"] == "rfc822; robert@example.org"
    assert (eve["Action"], eve["Status"]) == ("failed", "5.0.0")
    assert eve["Remote-MTA"] is None
    assert eve["Diagnostic-Code"] == "x-mailserver; no way there"


def test_the_text_for_people_comes_first_and_keeps_the_other_sides_words():
    _, message = made(NO)
    said = text(message)
    assert "could not be delivered to the recipient below" in said
    assert "<bob@example.net>" in said
    assert "What the server mx.example.net[192.0.2.1] said:" in said
    assert "    550 5.1.1 <bob@example.net>: no such user\n" in said
    assert "see https://example.net/help" in said
    assert "Check the address for spelling mistakes" in said
    order = ["could not be", "<bob@", "What happened:", "said:", "What it means:", "What to do:", "Who can do it: you."]
    places = [said.index(words) for words in order]
    assert places == sorted(places)
    assert max(len(line) for line in said.splitlines()) <= 72


@pytest.mark.parametrize(
    ("subject", "shown"),
    [
        (b"invoice 12", "invoice 12"),
        (b"=?utf-8?q?Rechnung_f=C3=BCr_M=C3=A4rz?=", "Rechnung für März"),
        ("Rechnung für März".encode(), "Rechnung für März"),
        (b"=?no-such-charset?q?x?=", "=?no-such-charset?q?x?="),
        (b"=?utf-8?b?!!!?=", "=?utf-8?b?!!!?="),
        (b"=?utf-8?q?two=0D=0Alines=1B[31m?=", "two lines?[31m"),
        (b"a\xff\xfeb", "a\ufffd\ufffdb"),
        (b"long " * 100, "long long"),
        (b"", None),
    ],
)
def test_the_text_names_the_message_by_what_its_sender_knows(subject, shown):
    _, message = made(NO, content=b"Subject: " + subject + b"\r\n\r\nhello\r\n")
    said = " ".join(text(message).split())
    assert "Sent: Sun, 15 Jun 2025" in said
    assert f"Subject: {shown}" in said if shown is not None else "Subject:" not in said
    assert len(said) < 1500


@pytest.mark.parametrize(
    ("stage", "reply", "wanted"),
    [
        (Stage.DNS, None, "your mail administrator"),
        (Stage.CONNECT, None, "Check the part of the address behind the @"),
        (Stage.BANNER, Reply(554, "5.7.1", ("your address is listed",)), "ask for its removal"),
        (Stage.STARTTLS, None, "your mail administrator"),
        (Stage.AUTH, Reply(535, "5.7.8", ("wrong password",)), "The way out of this server has to be mended"),
        (Stage.RCPT, Reply(452, "4.2.2", ("over quota",)), "make room, then send the message again"),
        (Stage.RCPT, Reply(450, "4.7.1", ("greylisted",)), "your mail administrator"),
        (Stage.EOD, None, "Nobody can tell from here"),
        (Stage.LOCAL, None, "Who can do it: the administrator of this mail server"),
    ],
)
def test_what_can_be_done_after_days_depends_on_what_was_wrong(stage, reply, wanted):
    reason = "connection refused" if stage is Stage.CONNECT else "it did not work"
    one = RecipientReport(NO.recipient, Action.FAILED, "4.4.7", reason, reply, "mx", stage, is_expired=True)
    _, message = made(one, age_s=5 * 86400.0)
    assert wanted in " ".join(text(message).split())


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("mx.example.net[192.0.2.1]", "mx.example.net"),
        ("192.0.2.1", "[192.0.2.1]"),
        ("2001:db8::1", "[IPv6:2001:db8::1]"),
        ("[192.0.2.1]", "[192.0.2.1]"),
        ("localhost", "localhost"),
    ],
)
def test_the_other_server_is_named_as_the_standard_wants_it(host, name):
    _, message = made(RecipientReport(NO.recipient, Action.FAILED, "5.1.1", "no", NO.reply, host, Stage.RCPT))
    assert blocks(message)[1]["Remote-MTA"] == f"dns; {name}"


def test_an_expired_message_tells_how_long_it_was_tried_and_the_last_words():
    reply = Reply(450, "4.7.1", ("greylisted, come back",))
    late = RecipientReport(
        NO.recipient, Action.FAILED, "4.4.7", "put off", reply, "mx", Stage.RCPT, is_expired=True, attempts=38
    )
    _, message = made(late, age_s=5 * 86400.0)
    assert "It was tried 38 times in 5 days and then given up." in " ".join(text(message).split())
    assert message["Subject"] == "Not delivered: bob@example.net (greylisted)"
    assert "greylisted, come back" in text(message)
    assert blocks(message)[1]["Status"] == "4.4.7"


def test_a_delay_notice_says_until_when():
    late = RecipientReport(
        NO.recipient, Action.DELAYED, reason="connection refused", stage=Stage.CONNECT, retry_until=NOW + 86400
    )
    _, message = made(late, ret=Ret.FULL)
    (_, bob) = blocks(message)
    assert (bob["Action"], bob["Status"]) == ("delayed", "4.4.1")
    assert message["Subject"] == "Delayed: bob@example.net (server not reachable)"
    assert email.utils.parsedate_to_datetime(bob["Will-Retry-Until"]).timestamp() == NOW + 86400
    assert "What to do: Nothing now" in " ".join(text(message).split())
    said = " ".join(text(message).split())
    assert "The recipient's mail server cannot be reached (connection refused)." in said
    assert "please do not send it again" in said and "It is tried until " in said
    assert message.get_payload(2).get_content_type() == "text/rfc822-headers"  # RET is about failures


@pytest.mark.parametrize("action", [Action.DELIVERED, Action.RELAYED, Action.EXPANDED])
def test_success_reports(action):
    _, message = made(RecipientReport(NO.recipient, action, reply=Reply(250, "2.0.0", ("ok",)), host="mx"))
    (_, bob) = blocks(message)
    assert (bob["Action"], bob["Status"]) == (action.value, "2.0.0")
    assert "You asked to be told" in " ".join(text(message).split())


# --- what is given back -----------------------------------------------------------------------------------------------


def test_the_header_is_given_back_octet_for_octet():
    report, _ = made(NO)
    assert CONTENT[: CONTENT.index(b"\r\n\r\n") + 2] in report.content
    assert b"Dear Bob" not in report.content


def test_ret_full_gives_back_everything_octet_for_octet():
    report, message = made(NO, ret=Ret.FULL)
    assert CONTENT in report.content
    assert message.get_payload(2).get_content_type() == "message/rfc822"
    assert message.get_payload(2).get_payload(0)["Subject"] == "invoice 12"


@pytest.mark.parametrize(
    "content",
    [
        CONTENT + b"x" * 70 + b"\r\n" + b"y\r\n" * MAX_FULL_OCTETS,  # too large
        CONTENT + b"z" * 999 + b"\r\n",  # a line that not every server takes
    ],
)
def test_ret_full_falls_back_to_the_header(content):
    _, message = made(NO, content=content, ret=Ret.FULL)
    assert message.get_payload(2).get_content_type() == "text/rfc822-headers"


def test_eight_bit_content_is_given_back_unchanged_and_declared():
    content = CONTENT.replace(b"Dear Bob", "Lieber Böb".encode("latin-1"))
    report, message = made(NO, content=content, ret=Ret.FULL)
    assert content in report.content
    assert report.envelope.body is Body.EIGHTBITMIME
    assert message["Content-Transfer-Encoding"] == "8bit"
    assert message.get_payload(2)["Content-Transfer-Encoding"] == "8bit"


@pytest.mark.parametrize(
    "content", [b"", b"look ma no headers!\r\n", b"Subject: " + b"x" * 5000 + b"\r\n\r\n", b"\r\n"]
)
def test_odd_content_makes_a_sound_report(content):
    _, message = made(NO, content=content, ret=Ret.HDRS)
    assert len(list(message.iter_parts())) == 3


def test_a_huge_header_is_cut_between_fields():
    content = b"".join(b"X-%d: %s\r\n" % (number, b"v" * 900) for number in range(500)) + b"\r\nbody\r\n"
    report, message = made(NO, content=content)
    assert len(report.content) < 80_000
    assert message.get_payload(2).get_payload().count("X-") < 80


def test_a_boundary_in_the_content_does_not_end_a_part():
    content = CONTENT + b"--=_" + ID.encode() + b"--\r\n"
    report, message = made(NO, content=content, ret=Ret.FULL)
    assert content in report.content
    assert len(list(message.iter_parts())) == 3


@pytest.mark.parametrize("message_id", [b"<a b@c>", b"no brackets", b"<x\xff@y>", b"<" + b"x" * 300 + b"@y>"])
def test_a_message_id_that_cannot_be_quoted_is_left_out(message_id):
    _, message = made(NO, content=CONTENT.replace(b"<77@desk.example.org>", message_id))
    assert message["References"] is None


# --- ugly peers -------------------------------------------------------------------------------------------------------

UGLY = [
    ("\r\nAction: delivered\r\n\r\n--=_000000000000R--\r\n",),
    ("\x1b[2Jclear", "nul\0", "bell\a", "del\x7f", "nel\x85", "ls\u2028ps\u2029"),
    ("Ünzustellbar: Empfänger unbekannt", "ユーザー不明", "\udcff lone"),
    ("x" * 3000,),
    ("word " * 600,),
    ("",),
    ("", "", "   "),
    ("line",) * 1000,
    ("ünbreakable" * 400,),
]


@pytest.mark.parametrize("lines", UGLY)
@pytest.mark.parametrize("action", [Action.FAILED, Action.DELAYED])
def test_ugly_replies_make_no_fields_no_parts_and_no_long_lines(lines, action):
    one = RecipientReport(NO.recipient, action, "5.7.1\r\nX: y", "\r\nreason", Reply(550, "5.7.1", lines), "h\r\nX: y")
    report, message = made(one)
    assert len(list(message.iter_parts())) == 3
    (about, bob) = blocks(message)
    assert set(about.keys()) == {"Reporting-MTA", "Arrival-Date"}
    assert set(bob.keys()) <= {
        "Final-Recipient",
        "Action",
        "Status",
        "Remote-MTA",
        "Diagnostic-Code",
        "Final-Log-ID",
    }
    assert bob["Action"] == action.value
    machine = report.content.split(b"Content-Type: message/delivery-status")[1].split(b"--=_")[0]
    assert machine.isascii()
    assert not any(octet < 32 and octet not in (13, 10) for octet in machine)


def test_words_in_other_languages_stay_readable_for_people():
    one = RecipientReport(NO.recipient, Action.FAILED, reply=Reply(550, "", ("Empfänger unbekannt, 不明",)))
    _, message = made(one)
    assert "Empfänger unbekannt, 不明" in text(message)


@given(
    lines=st.lists(st.text(max_size=200), min_size=1, max_size=5).map(tuple),
    enhanced=st.text(max_size=12),
    host=st.text(max_size=60),
    reason=st.text(max_size=120),
    envid=st.none() | st.text(max_size=100),
    orcpt=st.none() | st.builds(OriginalRecipient, st.text(max_size=10), st.text(max_size=500)),
    local=st.text(min_size=1, max_size=60),
    action=st.sampled_from(Action),
)
def test_no_text_whatever_breaks_a_report(lines, enhanced, host, reason, envid, orcpt, local, action):
    recipient = Recipient(Mailbox(local, "example.net"), orcpt=orcpt)
    one = RecipientReport(recipient, action, enhanced, reason, Reply(550, enhanced, lines), host, Stage.EOD)
    _, message = made(one, envid=envid)
    assert len(list(message.iter_parts())) == 3
    assert len(blocks(message)) == 2
    assert blocks(message)[1]["Action"] == action.value


# --- addresses in other scripts (RFC 6533) ----------------------------------------------------------------------------


def test_utf8_recipients_use_the_global_types():
    one = RecipientReport(Recipient(box("björn@example.net")), Action.FAILED, "5.1.1")
    content = CONTENT.replace(b"invoice 12", "Rechnung für Björn".encode())
    report, message = made(one, content=content, smtputf8=True)
    assert message.get_payload(1).get_content_type() == "message/global-delivery-status"
    assert message.get_payload(2).get_content_type() == "message/global-headers"
    assert "Final-Recipient: utf-8; björn@example.net\r\n".encode() in report.content
    assert not report.envelope.smtputf8  # its own header is ASCII, so it reaches every server
    report, message = made(one, content=content, ret=Ret.FULL)
    assert message.get_payload(2).get_content_type() == "message/global"


def test_a_utf8_sender_makes_the_report_itself_smtputf8():
    report, _ = made(NO, sender="jörg@example.org")
    assert report.envelope.smtputf8
    assert "To: <jörg@example.org>\r\n".encode() in report.content


def test_utf8_never_stands_in_the_ascii_form():
    one = RecipientReport(
        Recipient(box("bob@example.net"), orcpt=OriginalRecipient("utf-8", "böb@example.net")), Action.FAILED
    )
    report, message = made(one)
    assert message.get_payload(1).get_content_type() == "message/global-delivery-status"
    assert "Original-Recipient: utf-8; böb@example.net".encode() in report.content


# --- broken contracts -------------------------------------------------------------------------------------------------


def test_nothing_is_reported_to_the_null_reverse_path():
    subject = Subject(ABOUT, Envelope(None, (NO.recipient,)), NOW, CONTENT, True)
    with pytest.raises(AssertionError):
        make_report(REPORTER, ID, subject, (NO,), NOW)
