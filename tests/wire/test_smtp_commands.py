"""Command lines: what is said with which extensions, and that nothing smuggles a second line in."""

import base64

import pytest

from mailserver.mail.address import Mailbox
from mailserver.mail.envelope import Body, Envelope, Notify, OriginalRecipient, Recipient, Ret
from mailserver.mail.reply import Reply
from mailserver.mail.route import Login
from mailserver.wire import smtp_commands
from mailserver.wire.smtp_extensions import Extensions, parse_extensions

ALICE = Mailbox("alice", "example.org")
ALL = Extensions(eightbitmime=True, smtputf8=True, dsn=True, size_offered=True)


@pytest.mark.parametrize(
    ("envelope", "extensions", "utf8", "expected"),
    [
        (Envelope(None), Extensions(), False, b"MAIL FROM:<>\r\n"),
        (Envelope(ALICE, body=Body.EIGHTBITMIME, ret=Ret.FULL, envid="q"), Extensions(), False,
         b"MAIL FROM:<alice@example.org>\r\n"),
        (Envelope(ALICE), ALL, False, b"MAIL FROM:<alice@example.org> SIZE=77\r\n"),
        (Envelope(ALICE, body=Body.EIGHTBITMIME), ALL, False,
         b"MAIL FROM:<alice@example.org> SIZE=77 BODY=8BITMIME\r\n"),
        (Envelope(ALICE, ret=Ret.HDRS, envid="a+b=c d\r\nRCPT"), ALL, False,
         b"MAIL FROM:<alice@example.org> SIZE=77 RET=HDRS ENVID=a+2Bb+3Dc+20d+0D+0ARCPT\r\n"),
        (Envelope(Mailbox("jürgen", "example.org"), smtputf8=True), ALL, True,
         "MAIL FROM:<jürgen@example.org> SIZE=77 SMTPUTF8\r\n".encode()),
        (Envelope(Mailbox("a b", "example.org")), Extensions(), False, b'MAIL FROM:<"a b"@example.org>\r\n'),
    ],
)  # fmt: skip
def test_mail(envelope, extensions, utf8, expected):
    assert smtp_commands.mail(envelope, extensions, length=77, smtputf8=utf8) == expected


@pytest.mark.parametrize(
    ("recipient", "extensions", "utf8", "expected"),
    [
        (Recipient(ALICE), ALL, False, b"RCPT TO:<alice@example.org>\r\n"),
        (Recipient(ALICE, frozenset({Notify.NEVER}), OriginalRecipient("rfc822", "a@b")), Extensions(), False,
         b"RCPT TO:<alice@example.org>\r\n"),
        (Recipient(ALICE, frozenset({Notify.DELAY, Notify.SUCCESS})), ALL, False,
         b"RCPT TO:<alice@example.org> NOTIFY=SUCCESS,DELAY\r\n"),
        (Recipient(ALICE, orcpt=OriginalRecipient("rfc822", "a+b@example.org")), ALL, False,
         b"RCPT TO:<alice@example.org> ORCPT=rfc822;a+2Bb@example.org\r\n"),
        (Recipient(ALICE, orcpt=OriginalRecipient("utf-8", "jü@example.org")), ALL, False,
         rb"RCPT TO:<alice@example.org> ORCPT=utf-8;j\x{FC}@example.org" + b"\r\n"),
        (Recipient(ALICE, orcpt=OriginalRecipient("utf-8", "jü+@example.org")), ALL, True,
         "RCPT TO:<alice@example.org> ORCPT=utf-8;jü\\x{2B}@example.org\r\n".encode()),
        (Recipient(Mailbox("postmaster", "")), ALL, False, b"RCPT TO:<postmaster>\r\n"),
        (Recipient(Mailbox("x", "[IPv6:2001:db8::1]")), ALL, False, b"RCPT TO:<x@[IPv6:2001:db8::1]>\r\n"),
    ],
)  # fmt: skip
def test_rcpt(recipient, extensions, utf8, expected):
    assert smtp_commands.rcpt(recipient, extensions, smtputf8=utf8) == expected


@pytest.mark.parametrize("name", ["evil\r\nMAIL FROM:<>", "nul\0", "tab\t"])
def test_a_control_in_a_command_is_our_own_fault(name):
    with pytest.raises(ValueError, match="control"):
        smtp_commands.ehlo(name)
    with pytest.raises(ValueError, match="control"):
        smtp_commands.rcpt(Recipient(Mailbox(name, "example.org")), ALL, smtputf8=False)


def test_login_words_are_base64_and_a_password_is_not_in_a_repr():
    login = Login("alice@example.org", "pässword")
    line = smtp_commands.auth_plain(login)
    assert line.startswith(b"AUTH PLAIN ")
    assert base64.b64decode(line.split()[2]) == "\0alice@example.org\0pässword".encode()
    assert [base64.b64decode(word) for word in smtp_commands.login_responses(login)] == [
        b"alice@example.org",
        "pässword".encode(),
    ]
    assert "pässword" not in repr(login)


def ehlo(*lines):
    return parse_extensions(Reply(250, "", ("mx.example.net greets you", *lines)))


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ((), Extensions()),
        (("PIPELINING", "8BITMIME", "SMTPUTF8", "DSN", "STARTTLS"),
         Extensions(pipelining=True, eightbitmime=True, smtputf8=True, dsn=True, starttls=True)),
        (("pipelining", "Size 1000"), Extensions(pipelining=True, size_offered=True, size_limit=1000)),
        (("SIZE",), Extensions(size_offered=True)),
        (("SIZE 0",), Extensions(size_offered=True)),
        (("SIZE many",), Extensions(size_offered=True)),
        (("SIZE -5",), Extensions(size_offered=True)),
        (("SIZE " + "9" * 5000,), Extensions(size_offered=True)),
        (("SIZE ١٢",), Extensions(size_offered=True)),
        (("AUTH PLAIN LOGIN",), Extensions(mechanisms=frozenset({"PLAIN", "LOGIN"}))),
        (("AUTH=PLAIN LOGIN",), Extensions(mechanisms=frozenset({"PLAIN", "LOGIN"}))),
        (("auth plain", "AUTH=LOGIN"), Extensions(mechanisms=frozenset({"PLAIN", "LOGIN"}))),
        (("AUTH",), Extensions()),
        (("LIMITS RCPTMAX=10 MAILMAX=5 RCPTDOMAINMAX=1",),
         Extensions(max_recipients=10, max_messages=5, max_domains=1)),
        (("LIMITS RCPTMAX=0 MAILMAX=x NEW",), Extensions()),
        (("PIPELINING extra words", "", "  ", "X-ANYTHING"), Extensions(pipelining=True)),
        (("STARTTLS\t",), Extensions(starttls=True)),
        (("XPIPELINING",), Extensions()),
    ],
)  # fmt: skip
def test_the_keyword_table(lines, expected):
    assert ehlo(*lines) == expected


def test_the_greeting_line_offers_nothing_and_the_table_is_bounded():
    assert parse_extensions(Reply(250, "", ("PIPELINING",))) == Extensions()
    assert ehlo(*(f"X{n}" for n in range(200)), "PIPELINING") == Extensions()


def test_an_orcpt_that_its_escapes_make_too_long_is_left_out():
    """RFC 3461 4.2 ends it at 500 octets; the next hop would refuse the recipient for more."""
    recipient = Recipient(ALICE, orcpt=OriginalRecipient("utf-8", "ü" * 83 + "@example.org"))
    assert smtp_commands.rcpt(recipient, ALL, smtputf8=False) == b"RCPT TO:<alice@example.org>\r\n"
    assert b" ORCPT=utf-8;" in smtp_commands.rcpt(recipient, ALL, smtputf8=True)
