"""Every kind of report read back by `email`, field by field (RFC 3464 2, RFC 3461 6.3, RFC 6522 3, RFC 6533 4)."""

import email
import email.header
import email.policy
from email.utils import parsedate_to_datetime

import pytest

from mailserver.mail.envelope import OriginalRecipient, Recipient
from mailserver.mail.outcome import Stage
from mailserver.mail.reply import Reply
from mailserver.policy.causes.names import Cause
from mailserver.relay.bounce_subject import SHORT
from mailserver.relay.dsn_fields import Action, RecipientReport
from tests.fakes.directory import box
from tests.relay.test_bounce import ABOUT, CONTENT, NOW, blocks, made, text

HOST = "mx.example.net[192.0.2.1]"
NO_WORDS = Reply(550, "5.1.1", ("<bob@example.net>: unknown",))
LATER_WORDS = Reply(450, "4.7.1", ("come back",))
YES_WORDS = Reply(250, "2.0.0", ("queued",))

# action, our code, reply, stage: the Status that must come out
KINDS = [
    (Action.FAILED, "5.1.1", NO_WORDS, Stage.RCPT, "5.1.1"),
    (Action.FAILED, "4.4.7", LATER_WORDS, Stage.RCPT, "4.4.7"),
    (Action.FAILED, "", None, Stage.LOCAL, "5.0.0"),
    (Action.DELAYED, "", LATER_WORDS, Stage.RCPT, "4.7.1"),
    (Action.DELAYED, "", None, Stage.CONNECT, "4.4.1"),
    (Action.DELAYED, "", None, Stage.DNS, "4.4.3"),
    (Action.DELAYED, "", None, Stage.EOD, "4.0.0"),
    (Action.DELIVERED, "2.1.5", None, None, "2.1.5"),
    (Action.RELAYED, "", YES_WORDS, None, "2.0.0"),
    (Action.EXPANDED, "", None, None, "2.0.0"),
]


@pytest.mark.parametrize(("action", "enhanced", "reply", "stage", "status"), KINDS)
def test_every_field_of_every_kind(action, enhanced, reply, stage, status):
    orcpt = OriginalRecipient("rfc822", "robert@example.org")
    one = RecipientReport(
        Recipient(box("bob@example.net"), orcpt=orcpt),
        action,
        enhanced,
        "our own words" if reply is None and stage is not None else "",
        reply,
        HOST if reply is not None else "",
        stage,
        last_attempt=NOW - 5,
        retry_until=NOW + 86400 if action is Action.DELAYED else 0.0,
        attempts=3,
    )
    report, message = made(one, envid="QQ314159", age_s=4 * 3600.0)
    assert message.get_content_type() == "multipart/report"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["References"] == message["In-Reply-To"] == "<77@desk.example.org>"
    assert message["Message-ID"] and message["Date"].datetime.timestamp() == NOW
    assert report.content.isascii() and message["Content-Transfer-Encoding"] is None
    about, bob = blocks(message)
    assert dict(about.items()) == {
        "Original-Envelope-Id": "QQ314159",
        "Reporting-MTA": "dns; mail.example.org",
        "Arrival-Date": about["Arrival-Date"],
    }
    assert parsedate_to_datetime(about["Arrival-Date"]).timestamp() == NOW - 90
    assert bob["Original-Recipient"] == "rfc822; robert@example.org"
    assert bob["Final-Recipient"] == "rfc822; bob@example.net"
    assert (bob["Action"], bob["Status"]) == (action.value, status)
    assert bob["Remote-MTA"] == ("dns; mx.example.net" if reply is not None else None)
    expected = f"smtp; {reply}" if reply is not None else "x-mailserver; our own words" if stage is not None else None
    assert bob["Diagnostic-Code"] == expected, "verbatim (RFC 3464 2.3.6)"
    assert parsedate_to_datetime(bob["Last-Attempt-Date"]).timestamp() == NOW - 5
    assert bob["Final-Log-ID"] == ABOUT
    if action is Action.DELAYED:
        assert parsedate_to_datetime(bob["Will-Retry-Until"]).timestamp() == NOW + 86400
    else:
        assert bob["Will-Retry-Until"] is None, "only for delayed ones (RFC 3464 2.3.9)"
    own = report.content.split(b"text/rfc822-headers")[0]
    assert max(len(line) for line in own.split(b"\r\n")) <= 78
    assert max(len(line) for line in text(message).splitlines()) <= 72


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_has_a_few_words_of_the_field(cause):
    assert cause in SHORT and len(SHORT[cause]) <= 40 and not SHORT[cause].endswith(".")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("bob@example.net", "bob@example.net"),
        ("björn@example.net", "björn@example.net"),
        ("=?utf-8?q?x?=@example.net", "=?utf-8?q?x?=@example.net"),
        (f"{'b' * 64}@{'x' * 60}.{'y' * 60}.example", f"{'b' * 64}@{'x' * 15}..."),
    ],
)
def test_the_subject_arrives_as_it_was_meant(address, shown):
    report, message = made(
        RecipientReport(Recipient(box(address)), Action.FAILED, "5.1.1", reply=NO_WORDS, stage=Stage.RCPT)
    )
    head = report.content.partition(b"\r\n\r\n")[0]
    assert head.isascii(), "the subject needs no SMTPUTF8"
    assert max(len(line) for line in head.split(b"\r\n")) <= 120
    raw = email.message_from_bytes(report.content)["Subject"].replace("\r\n", "")
    assert str(email.header.make_header(email.header.decode_header(raw))) == f"Not delivered: {shown} (no such mailbox)"
    assert message["Subject"] == f"Not delivered: {shown} (no such mailbox)", "the newer parser agrees"


def test_several_recipients_share_a_subject_and_its_reason_only_when_it_is_one():
    def one(address, reply):
        return RecipientReport(Recipient(box(address)), Action.FAILED, reply.enhanced, "", reply, HOST, Stage.RCPT)

    full = Reply(552, "5.2.2", ("Mailbox full",))
    _, same = made(one("bob@example.net", NO_WORDS), one("eve@example.net", NO_WORDS))
    _, different = made(one("bob@example.net", NO_WORDS), one("eve@example.net", full), one("carl@example.net", full))
    assert same["Subject"] == "Not delivered: bob@example.net and 1 other (no such mailbox)"
    assert different["Subject"] == "Not delivered: bob@example.net and 2 others"


def test_replies_that_really_differ_are_all_shown_up_to_three():
    reports = [
        RecipientReport(
            Recipient(box(f"p{number}@example.net")),
            Action.FAILED,
            "5.1.1",
            "",
            Reply(550, "5.1.1", (f"User unknown in table {number}",)),
            HOST,
            Stage.RCPT,
        )
        for number in range(5)
    ]
    _, message = made(*reports)
    said = text(message)
    assert "said of p0@example.net:" in " ".join(said.split())
    assert [f"table {number}" in said for number in range(5)] == [True, True, True, False, False]
    assert "2 more replies like these are in the next part." in said
    assert all(f"<p{number}@example.net>" in said for number in range(5))


def test_utf8_addresses_everywhere(tmp_path):
    orcpt = OriginalRecipient("utf-8", "bjørn@example.org")
    one = RecipientReport(
        Recipient(box("björn@example.net"), orcpt=orcpt), Action.FAILED, "5.1.1", reply=NO_WORDS, stage=Stage.RCPT
    )
    report, message = made(one, sender="jörg@example.org", smtputf8=True)
    assert message.get_payload(1).get_content_type() == "message/global-delivery-status"
    assert message.get_payload(2).get_content_type() == "text/rfc822-headers", "there is no UTF-8 in this header"
    assert message["Content-Transfer-Encoding"] == "8bit"
    bob = blocks(message)[1]
    assert bob["Final-Recipient"] == "utf-8; björn@example.net"
    assert bob["Original-Recipient"] == "utf-8; bjørn@example.org"
    assert "<björn@example.net>" in text(message)
    assert report.envelope.smtputf8


def test_a_message_without_an_id_makes_no_thread():
    _, message = made(
        RecipientReport(Recipient(box("b@example.net")), Action.FAILED), content=CONTENT.replace(b"Message-ID", b"X-ID")
    )
    assert message["In-Reply-To"] is None and message["References"] is None
