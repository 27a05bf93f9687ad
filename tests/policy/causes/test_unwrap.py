"""What stands behind the wrappings of relays, and what a pasted bounce holds."""

import base64
import quopri

import pytest

from mailserver.mail.outcome import Stage
from mailserver.policy.causes.bounce_message import reply_in
from mailserver.policy.causes.classify import classify
from mailserver.policy.causes.evidence import Evidence
from mailserver.policy.causes.names import Cause
from mailserver.policy.causes.unwrap import unwrap


@pytest.mark.parametrize(
    ("reply", "words", "basic", "enhanced", "stage"),
    [
        ("550 5.1.1 User unknown", "User unknown", "550", ("5.1.1",), None),
        ("550-5.1.1 User\r\n550 5.1.1 unknown\r\n", "User unknown", "550", ("5.1.1",), None),
        # Folded with the code repeated in mid-sentence.
        ("554-No SMTP service 554-Bad PTR 554 Goodbye", "No SMTP service Bad PTR Goodbye", "554", (), None),
        # Doubled, and with the enhanced code at the end.
        ("554 554 5.7.1 Not here", "Not here", "554", ("5.7.1",), None),
        ("550 Invalid recipient (#5.1.1)", "Invalid recipient", "550", ("5.1.1",), None),
        ("mx.example.net[192.0.2.1]: 550 no such user", "mx.example.net[192.0.2.1]: no such user", "550", (), None),
        ("host a said: 450 4.2.0 wait (in reply to RCPT TO command)", "wait", "450", ("4.2.0",), Stage.RCPT),
        ("host a refused to talk to me: 554 no", "no", "554", (), Stage.BANNER),
        (
            "SMTP error from remote mail server after end of data: 550 spam here",
            "spam here",
            "550",
            (),
            Stage.EOD,
        ),
        ("Remote host said: 553 5.3.0 gone away", "gone away", "553", ("5.3.0",), None),
        ("Remote Server returned '550 5.1.1 not here'", "not here", "550", ("5.1.1",), None),
        # An address that looks like a code is none.
        ("421 4.7.0 slow down - 4.16.55.1; see there", "slow down - 4.16.55.1; see there", "421", ("4.7.0",), None),
        ("", "", "", (), None),
    ],
)
def test_innermost_words(reply, words, basic, enhanced, stage):
    found = unwrap(reply)
    assert (found.words, found.basic, found.enhanced, found.stage) == (words, basic, enhanced, stage)


def test_quoted_fifty_times():
    reply = "550 5.1.1 no such user here"
    for number in range(50):
        reply = f"550 5.0.0 <a@b.example>: Recipient address rejected: host h{number}.example[192.0.2.1] said: {reply}"
    assert unwrap(reply).words == "no such user here"
    assert classify(Evidence(reply)).cause is Cause.MAILBOX_UNKNOWN


POSTFIX = """\
From: MAILER-DAEMON@mail.example.org (Mail Delivery System)
To: alice@example.org
Subject: Undelivered Mail Returned to Sender
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: text/plain; charset=us-ascii

This is the mail system at host mail.example.org.

I'm sorry to have to inform you that your message could not
be delivered to one or more recipients. It's attached below.

<bob@example.net>: host mx.example.net[192.0.2.7] said: 552 5.2.2
    <bob@example.net>: user is overquota (in reply to RCPT TO command)

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mail.example.org

Final-Recipient: rfc822; bob@example.net
Action: failed
Status: 5.2.2
Diagnostic-Code: smtp; 552 5.2.2
    <bob@example.net>: user is overquota

--b
Content-Type: message/rfc822

Subject: virus spam unknown user

A body full of virus, spam and greylisting.
--b--
"""


def test_a_report_is_read_by_its_diagnostic_code():
    assert reply_in(POSTFIX) == ("552 5.2.2 <bob@example.net>: user is overquota", "5.2.2")
    diagnosis = classify(Evidence(POSTFIX))
    assert (diagnosis.cause, diagnosis.also) == (Cause.MAILBOX_FULL, ())
    assert diagnosis.words == "<bob@example.net>: user is overquota"


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable"])
def test_encoded_parts_in_other_charsets(encoding):
    text = "550 Пользователь не существует\n".encode("koi8-r")
    body = base64.encodebytes(text) if encoding == "base64" else quopri.encodestring(text)
    message = (
        "From: postmaster@example.ru\nSubject: bounce\nMIME-Version: 1.0\n"
        f"Content-Type: text/plain; charset=koi8-r\nContent-Transfer-Encoding: {encoding}\n\n{body.decode('ascii')}"
    )
    assert classify(Evidence(message)).cause is Cause.MAILBOX_UNKNOWN


def test_a_bounce_in_html_alone():
    message = (
        "From: postmaster@example.com\nSubject: Undeliverable\nContent-Type: text/html\n\n"
        "<html><style>b{}</style><p>Remote Server returned '550 5.1.1 <b>User</b> unknown'</p></html>"
    )
    assert classify(Evidence(message)).cause is Cause.MAILBOX_UNKNOWN


def test_a_qmail_bounce_without_its_returned_message():
    message = (
        "From: MAILER-DAEMON@example.jp\nSubject: failure notice\n\n"
        "Hi. This is the qmail-send program at xxx.\n"
        "I'm afraid I wasn't able to deliver your message to the following addresses.\n"
        "This is a permanent error; I've given up. Sorry it didn't work out.\n\n"
        "<kijitora@example.jp>:\nSorry, I wasn't able to establish an SMTP connection. (#4.4.1)\n"
        "I'm not going to try again; this message has been in the queue too long.\n\n"
        "--- Below this line is a copy of the message.\n\nSubject: virus\n"
    )
    diagnosis = classify(Evidence(message))
    assert (diagnosis.cause, diagnosis.also) == (Cause.CONNECTION_TIMED_OUT, ())


def test_an_old_exchange_bounce():
    message = (
        "From: System Administrator <postmaster@example.com>\nTo: <shironeko@example.jp>\nSubject: Undeliverable\n\n"
        "Your message did not reach some or all of the intended recipients.\n\n"
        "The following recipient(s) could not be reached:\n\n"
        "      kijitora@example.com on 4/29/01 11:34:45 PM\n            Recipient Not Found\n"
    )
    assert classify(Evidence(message)).cause is Cause.MAILBOX_UNKNOWN


@pytest.mark.parametrize(
    ("status", "read"),
    [
        ("5.1.1 (bad destination mailbox address)", "5.1.1"),  # RFC 3464 2.3.4 lets a comment follow
        ("5", ""),
        ("5.", ""),
        ("5.1.x", ""),
        ("5.1.1.1", ""),
        ("5.1.\x01", ""),
        ("2.1.5", ""),
    ],
)
def test_a_status_that_is_more_or_less_than_a_code(status, read):
    report = (
        f"Final-Recipient: rfc822; b@example.net\nAction: failed\nStatus: {status}\nDiagnostic-Code: smtp; 550 full"
    )
    assert reply_in(report)[1] == read
    assert classify(Evidence(report)).evidence
