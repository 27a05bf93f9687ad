"""The arguments of SMTP commands: what is read, and what is refused with which code."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mail.address import Mailbox
from mailserver.mail.envelope import Body, Envelope, Notify, OriginalRecipient, Recipient, Ret
from mailserver.mail.fault import SyntaxFault
from mailserver.mail.reply import Reply
from mailserver.wire.smtp_grammar import (
    Chunk,
    decode_utf8_address,
    decode_xtext,
    parse_bdat,
    parse_hello,
    parse_mail,
    parse_number,
    parse_orcpt,
    parse_rcpt,
)

A = Mailbox("a", "b.example")


@pytest.mark.parametrize(
    ("argument", "envelope"),
    [
        ("FROM:<a@b.example>", Envelope(A)),
        ("from:<a@b.example>", Envelope(A)),
        ("FROM: <a@b.example>", Envelope(A)),
        ("FROM:   <a@b.example>", Envelope(A)),
        ("FROM:a@b.example", Envelope(A)),
        ("FROM: a@b.example", Envelope(A)),
        ("FROM:< a@b.example >", Envelope(A)),
        ("FROM:<a@B.Example>", Envelope(A)),
        ("FROM:<>", Envelope(None)),
        ("FROM: <>", Envelope(None)),
        ("FROM:<> SIZE=5", Envelope(None, size_octets=5)),
        ('FROM:<"a b"@b.example>', Envelope(Mailbox("a b", "b.example"))),
        ('FROM:<"a>b"@b.example>', Envelope(Mailbox("a>b", "b.example"))),
        ('FROM:<"a\\">"@b.example>', Envelope(Mailbox('a">', "b.example"))),
        ("FROM:<a@[192.0.2.1]>", Envelope(Mailbox("a", "[192.0.2.1]"))),
        ("FROM:<a@b.example> SIZE=1000", Envelope(A, size_octets=1000)),
        ("FROM:<a@b.example>  size=1000   body=8bitmime", Envelope(A, size_octets=1000, body=Body.EIGHTBITMIME)),
        ("FROM:<a@b.example>\tBODY=7BIT", Envelope(A)),
        ("FROM:a@b.example SIZE=7", Envelope(A, size_octets=7)),
        ("FROM:<a@b.example> RET=HDRS ENVID=x+2By", Envelope(A, ret=Ret.HDRS, envid="x+y")),
        ("FROM:<a@b.example> RET=full", Envelope(A, ret=Ret.FULL)),
        ("FROM:<ü@b.example> SMTPUTF8", Envelope(Mailbox("ü", "b.example"), smtputf8=True)),
        ("FROM:<a@bücher.example> smtputf8", Envelope(Mailbox("a", "xn--bcher-kva.example"), smtputf8=True)),
        ("FROM:<a@b.example> SIZE=99999999999999999999", Envelope(A, size_octets=99999999999999999999)),
    ],
)
def test_mail(argument, envelope):
    assert parse_mail(argument, offers_auth=False) == envelope


@pytest.mark.parametrize(
    ("argument", "code", "enhanced"),
    [
        ("", 501, "5.1.7"),
        ("a@b.example", 501, "5.1.7"),
        ("TO:<a@b.example>", 501, "5.1.7"),
        ("FROM", 501, "5.1.7"),
        ("FROM:", 501, "5.1.7"),
        ("FROM: ", 501, "5.1.7"),
        ("FROM:a", 501, "5.1.7"),
        ("FROM:<a>", 501, "5.1.7"),
        ("FROM:<postmaster>", 501, "5.1.7"),  # only a recipient may go without its domain
        ("FROM:<a@b.example", 501, "5.1.7"),
        ('FROM:<"a@b.example>', 501, "5.1.7"),
        ('FROM:"a"@b.example', 501, "5.1.7"),
        ("FROM:<a@b.example>x", 501, "5.1.7"),
        ("FROM:<a@b.example>SIZE=5", 501, "5.1.7"),
        ("FROM:<a@b.example>> SIZE=5", 501, "5.1.7"),
        ("FROM:<a@b.example.>", 501, "5.1.7"),
        ("FROM:<a@@b.example>", 501, "5.1.7"),
        ("FROM:<a@b..example>", 501, "5.1.7"),
        ("FROM:<@b.example>", 501, "5.1.7"),
        ("FROM:<@relay.example:a@b.example>", 501, "5.1.7"),
        ("FROM:<a@b.example,c@d.example>", 501, "5.1.7"),
        ("FROM:<a b@c.example>", 501, "5.1.7"),
        ("FROM:<a@b.example> SIZE", 501, "5.5.4"),
        ("FROM:<a@b.example> SIZE=", 501, "5.5.4"),
        ("FROM:<a@b.example> SIZE=-1", 501, "5.5.4"),
        ("FROM:<a@b.example> SIZE=+1", 501, "5.5.4"),
        ("FROM:<a@b.example> SIZE=1_000", 501, "5.5.4"),
        ("FROM:<a@b.example> SIZE=１２", 501, "5.5.4"),
        ("FROM:<a@b.example> SIZE=0x10", 501, "5.5.4"),
        ("FROM:<a@b.example> SIZE=999999999999999999999", 501, "5.5.4"),
        ("FROM:<a@b.example> SIZE=1 SIZE=2", 501, "5.5.4"),
        ("FROM:<a@b.example> SIZE=1 size=1", 501, "5.5.4"),
        ("FROM:<a@b.example> BODY=9BIT", 501, "5.5.4"),
        ("FROM:<a@b.example> BODY", 501, "5.5.4"),
        ("FROM:<a@b.example> BODY=BINARYMIME", 555, "5.5.4"),
        ("FROM:<a@b.example> RET=ALL", 501, "5.5.4"),
        ("FROM:<a@b.example> ENVID=a+0Ab", 501, "5.5.4"),
        ("FROM:<a@b.example> ENVID=a+0db", 501, "5.5.4"),
        ("FROM:<a@b.example> ENVID=a+00", 501, "5.5.4"),
        ("FROM:<a@b.example> ENVID=a+7F", 501, "5.5.4"),
        ("FROM:<a@b.example> ENVID=a+E4", 501, "5.5.4"),
        ("FROM:<a@b.example> ENVID=a+4", 501, "5.5.4"),
        ("FROM:<a@b.example> ENVID=a=b", 501, "5.5.4"),
        ("FROM:<a@b.example> ENVID=" + "x" * 101, 501, "5.5.4"),
        ("FROM:<a@b.example> SMTPUTF8=YES", 501, "5.5.4"),
        ("FROM:<a@b.example> XFOO=1", 555, "5.5.4"),
        ("FROM:<a@b.example> NOTIFY=NEVER", 555, "5.5.4"),
        ("FROM:<a@b.example> REQUIRETLS", 555, "5.5.4"),
        ("FROM:<a@b.example> AUTH=<>", 555, "5.5.4"),  # AUTH is not offered here
        ("FROM:<a@b.example> =", 501, "5.5.4"),
        ("FROM:<a@b.example> \u2028SIZE=5", 501, "5.5.4"),
        ("FROM:<ü@b.example>", 553, "5.6.7"),
        ("FROM:<a@bücher.example>", 553, "5.6.7"),
        ("FROM:<a\u2028b@c.example> SMTPUTF8", 501, "5.1.7"),
        ("FROM:<a\x85b@c.example> SMTPUTF8", 501, "5.1.7"),
        ("FROM:<a\x0bb@c.example>", 501, "5.1.7"),
        ("FROM:<" + "x" * 256 + "@b.example>", 501, "5.1.7"),
    ],
)
def test_mail_refused(argument, code, enhanced):
    refused = parse_mail(argument, offers_auth=False)
    assert isinstance(refused, Reply)
    assert (refused.code, refused.enhanced) == (code, enhanced)


@pytest.mark.parametrize(
    ("parameter", "is_accepted"),
    [
        ("AUTH=<>", True),
        ("AUTH=a@b.example", True),
        ("AUTH=a+2Bc@b.example", True),
        ("AUTH=a@b.example+0D+0AX:y", False),  # CVE-2020-28021
        ("AUTH=a+0Ab@c.example", False),
        ("AUTH=a+00@b.example", False),
        ("AUTH=", False),
        ("AUTH", False),
        ("AUTH=nobody", False),
        ("AUTH=<a@b.example>", False),
    ],
)
def test_the_auth_parameter_is_checked_and_then_ignored(parameter, is_accepted):
    """RFC 4954 5."""
    parsed = parse_mail(f"FROM:<a@b.example> {parameter}", offers_auth=True)
    assert parsed == Envelope(A) if is_accepted else isinstance(parsed, Reply)


@pytest.mark.parametrize(
    ("argument", "recipient"),
    [
        ("TO:<a@b.example>", Recipient(A)),
        ("to: a@b.example", Recipient(A)),
        ("To:<a@b.example> ", Recipient(A)),
        ("TO:<postmaster>", Recipient(Mailbox("postmaster", ""))),
        ("TO:<PostMaster>", Recipient(Mailbox("postmaster", ""))),
        ("TO:postmaster", Recipient(Mailbox("postmaster", ""))),
        ("TO:<a@b.example> NOTIFY=NEVER", Recipient(A, frozenset({Notify.NEVER}))),
        ("TO:<a@b.example> notify=success,Failure", Recipient(A, frozenset({Notify.SUCCESS, Notify.FAILURE}))),
        (
            "TO:<a@b.example> ORCPT=rfc822;A+2Bx@B.example NOTIFY=DELAY",
            Recipient(A, frozenset({Notify.DELAY}), OriginalRecipient("rfc822", "A+x@B.example")),
        ),
        (
            "TO:<a@b.example> ORCPT=utf-8;j\\x{FC}rgen@b.example",
            Recipient(A, orcpt=OriginalRecipient("utf-8", "jürgen@b.example")),
        ),
    ],
)
def test_rcpt(argument, recipient):
    assert parse_rcpt(argument, smtputf8=False) == recipient


@pytest.mark.parametrize(
    ("argument", "code", "enhanced"),
    [
        ("", 501, "5.1.3"),
        ("TO:", 501, "5.1.3"),
        ("TO:<>", 501, "5.1.3"),
        ("FROM:<a@b.example>", 501, "5.1.3"),
        ("TO:<a@b.example> NOTIFY", 501, "5.5.4"),
        ("TO:<a@b.example> NOTIFY=", 501, "5.5.4"),
        ("TO:<a@b.example> NOTIFY=NEVER,DELAY", 501, "5.5.4"),
        ("TO:<a@b.example> NOTIFY=SOON", 501, "5.5.4"),
        ("TO:<a@b.example> NOTIFY=SUCCESS,", 501, "5.5.4"),
        ("TO:<a@b.example> ORCPT=a@b.example", 501, "5.5.4"),
        ("TO:<a@b.example> ORCPT=;a@b.example", 501, "5.5.4"),
        ("TO:<a@b.example> ORCPT=rfc822;", 501, "5.5.4"),
        ("TO:<a@b.example> ORCPT=rfc822;a+0D+0ARCPT", 501, "5.5.4"),
        ("TO:<a@b.example> ORCPT=rfc822;" + "x" * 501, 501, "5.5.4"),
        ("TO:<a@b.example> ORCPT=utf-8;ü@b.example", 501, "5.5.4"),
        ("TO:<a@b.example> ORCPT=utf-8;\\x{0A}", 501, "5.5.4"),
        ("TO:<a@b.example> SIZE=5", 555, "5.5.4"),
        ("TO:<a@b.example> HOLDFOR=5", 555, "5.5.4"),
        ("TO:<ü@b.example>", 553, "5.6.7"),
    ],
)
def test_rcpt_refused(argument, code, enhanced):
    refused = parse_rcpt(argument, smtputf8=False)
    assert isinstance(refused, Reply)
    assert (refused.code, refused.enhanced) == (code, enhanced)


def test_utf8_is_allowed_where_mail_said_so():
    """RFC 6531 3.4."""
    parsed = parse_rcpt("TO:<ü@b.example> ORCPT=utf-8;ü@b.example", smtputf8=True)
    assert parsed == Recipient(Mailbox("ü", "b.example"), orcpt=OriginalRecipient("utf-8", "ü@b.example"))


def test_a_local_part_becomes_nfc():
    parsed = parse_rcpt("TO:<u\u0308@b.example>", smtputf8=True)
    assert parsed == Recipient(Mailbox("ü", "b.example"))


@pytest.mark.parametrize(
    ("text", "decoded"),
    [
        ("", ""),
        ("abc", "abc"),
        ("a+2Bb+3Dc", "a+b=c"),
        ("a+2bb", "a+b"),
        ("a+20b", "a b"),
        ("a+b", None),
        ("a+2", None),
        ("a+GG", None),
        ("a=b", None),
        ("a b", None),
        ("a+0A", None),
        ("a+0D+0A", None),
        ("a+00", None),
        ("a+1B", None),
        ("a+85", None),
        ("ü", None),
    ],
)
def test_xtext(text, decoded):
    got = decode_xtext(text)
    assert got == decoded if decoded is not None else isinstance(got, SyntaxFault)


@pytest.mark.parametrize(
    ("text", "decoded"),
    [
        ("a@b", "a@b"),
        ("\\x{FC}", "ü"),
        ("\\x{1F600}@b", "\U0001f600@b"),
        ("a\\x{2B}b\\x{3D}c", "a+b=c"),
        ("\\x{5C}x{FC}", "\\x{FC}"),
        ("\\x{D800}", None),
        ("\\x{110000}", None),
        ("\\x{0A}", None),
        ("\\x{85}", None),
        ("\\x{2028}", None),
        ("\\x{7F}", None),
        ("\\x{F}", None),
        ("\\x{}", None),
        ("\\x{FC", None),
        ("ü", None),
    ],
)
def test_utf8_address_xtext(text, decoded):
    """RFC 6533 3."""
    got = decode_utf8_address(text, allow_utf8=False)
    assert got == decoded if decoded is not None else isinstance(got, SyntaxFault)


def test_orcpt_of_an_unknown_type_is_kept():
    assert parse_orcpt("x400;/C=de/", allow_utf8=False) == SyntaxFault("a value is not xtext")
    assert parse_orcpt("x400;/C+3Dde/", allow_utf8=False) == OriginalRecipient("x400", "/C=de/")


@pytest.mark.parametrize("name", ["vm", "localhost", "[127.0.0.1]", "message.eml", "my pc", "jürgen", "-", "x" * 255])
def test_hello_takes_any_printable_name(name):
    assert parse_hello(name) == name


@pytest.mark.parametrize("name", ["", "a\x00b", "a\x1bb", "a\x7f", "a\u2028b", "x" * 256, "ü" * 128])
def test_hello_refused(name):
    assert isinstance(parse_hello(name), Reply)


@pytest.mark.parametrize(
    ("argument", "chunk"),
    [
        ("0", Chunk(0, False)),
        ("10", Chunk(10, False)),
        ("10 LAST", Chunk(10, True)),
        ("10 last", Chunk(10, True)),
        ("0 LAST", Chunk(0, True)),
        ("10  LAST ", Chunk(10, True)),
        ("", None),
        ("LAST", None),
        ("-1", None),
        ("+1", None),
        ("1_0", None),
        ("٣", None),
        ("0x10", None),
        ("1.0", None),
        ("10 FIRST", None),
        ("10 LAST LAST", None),
        ("1" * 21, None),
    ],
)
def test_bdat(argument, chunk):
    """RFC 3030 2."""
    assert parse_bdat(argument) == chunk


@pytest.mark.parametrize("text", ["", "-0", "１", "²", "1 ", " 1", "1e3", "1\n"])
def test_numbers_are_ascii_digits(text):
    assert parse_number(text) is None


@given(st.text(max_size=80))
def test_no_argument_raises(text):
    parse_mail(text, offers_auth=True)
    parse_mail(f"FROM:<a@b.example> {text}", offers_auth=True)
    parse_mail(f"FROM:{text}", offers_auth=True)
    parse_rcpt(text, smtputf8=True)
    parse_rcpt(f"TO:<{text}>", smtputf8=True)
    parse_rcpt(f"TO:<a@b.example> {text}", smtputf8=False)
    parse_rcpt(f"TO:<a@b.example> ORCPT=utf-8;{text}", smtputf8=True)
    parse_bdat(text)
    parse_hello(text)


@given(st.text(st.sampled_from('ab@.<>"\\ +=;:,[]%!x{}0A'), max_size=40))
def test_what_is_accepted_has_no_controls_and_reads_back(text):
    parsed = parse_rcpt(f"TO:<{text}>", smtputf8=True)
    if isinstance(parsed, Recipient):
        again = parse_rcpt(f"TO:<{parsed.mailbox}>", smtputf8=True)
        assert again == Recipient(parsed.mailbox)


def test_requiretls_is_taken_where_it_is_offered():
    """RFC 8689 2."""
    assert parse_mail("FROM:<a@b.example> REQUIRETLS", offers_auth=False, offers_requiretls=True).require_tls
    assert not parse_mail("FROM:<a@b.example>", offers_auth=False, offers_requiretls=True).require_tls
    assert parse_mail("FROM:<a@b.example> REQUIRETLS", offers_auth=False).code == 555
    refused = parse_mail("FROM:<a@b.example> REQUIRETLS=1", offers_auth=False, offers_requiretls=True)
    assert refused.code == 501
