"""Addresses: what is one, what it becomes, and what is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mail.address import Mailbox, canonical_domain, has_controls, parse_mailbox
from mailserver.mail.fault import SyntaxFault


@pytest.mark.parametrize(
    ("text", "local_part", "domain", "shown"),
    [
        ("a@b.example", "a", "b.example", "a@b.example"),
        ("A.B@C.Example", "A.B", "c.example", "A.B@c.example"),
        ("a+b=c@d.example", "a+b=c", "d.example", "a+b=c@d.example"),
        ("!#$%&'*+-/=?^_`{|}~@b.example", "!#$%&'*+-/=?^_`{|}~", "b.example", "!#$%&'*+-/=?^_`{|}~@b.example"),
        ('"a"@b.example', "a", "b.example", "a@b.example"),
        ('"a b"@c.example', "a b", "c.example", '"a b"@c.example'),
        ('"a@b"@c.example', "a@b", "c.example", '"a@b"@c.example'),
        ('"a\\"b\\\\c"@d.example', 'a"b\\c', "d.example", '"a\\"b\\\\c"@d.example'),
        ('"\\a"@b.example', "a", "b.example", "a@b.example"),
        ('""@b.example', "", "b.example", '""@b.example'),
        ("a..b@c.example", "a..b", "c.example", '"a..b"@c.example'),
        (".a@b.example", ".a", "b.example", '".a"@b.example'),
        ("a.@b.example", "a.", "b.example", '"a."@b.example'),
        ("a%b@c.example", "a%b", "c.example", "a%b@c.example"),
        ("b!a@c.example", "b!a", "c.example", "b!a@c.example"),
        ("a@localhost", "a", "localhost", "a@localhost"),
        ("a@[192.0.2.1]", "a", "[192.0.2.1]", "a@[192.0.2.1]"),
        ("a@[ipv6:2001:DB8:0:0:0:0:0:1]", "a", "[IPv6:2001:db8::1]", "a@[IPv6:2001:db8::1]"),
        ("a@192.0.2.1", "a", "192.0.2.1", "a@192.0.2.1"),
        ("jürgen@bücher.example", "jürgen", "xn--bcher-kva.example", "jürgen@xn--bcher-kva.example"),
        ("a@xn--bcher-kva.example", "a", "xn--bcher-kva.example", "a@xn--bcher-kva.example"),
        ("a@BÜCHER.example", "a", "xn--bcher-kva.example", "a@xn--bcher-kva.example"),
        ("u\u0308@b.example", "ü", "b.example", "ü@b.example"),
        ("a@_srv.example", "a", "_srv.example", "a@_srv.example"),
        ("postmaster", "postmaster", "", "postmaster"),
        ("POSTMASTER", "postmaster", "", "postmaster"),
        ("postmaster@b.example", "postmaster", "b.example", "postmaster@b.example"),
        ("x" * 255 + "@b.example", "x" * 255, "b.example", "x" * 255 + "@b.example"),
    ],
)
def test_addresses(text, local_part, domain, shown):
    mailbox = parse_mailbox(text)
    assert mailbox == Mailbox(local_part, domain)
    assert str(mailbox) == shown
    assert parse_mailbox(shown) == mailbox


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "@",
        "a@",
        "@b.example",
        "a@b@c.example",
        "a b@c.example",
        "a,b@c.example",
        "a;b@c.example",
        "a:b@c.example",
        "<a@b.example>",
        "a(comment)@b.example",
        "a\\@b@c.example",
        '"a@b.example',
        '"a"b@c.example',
        'a"b"@c.example',
        '"a\\',
        '"a"',
        "a@b.example.",
        "a@.b.example",
        "a@b..example",
        "a@-b.example",
        "a@b-.example",
        "a@b.example ",
        " a@b.example",
        "a@b example",
        "a@b,c.example",
        "a@b/c",
        "a@[192.0.2.1",
        "a@[192.0.2]",
        "a@[192.0.2.256]",
        "a@[IPv6:xyz]",
        "a@[IPv6:fe80::1%eth0]",
        "a@[x400:abc]",
        "a@[2001:db8::1]",
        "a@[]",
        "a@" + "x" * 64 + ".example",
        "a@" + "x." * 127 + "example",
        "x" * 256 + "@b.example",
        "ü" * 128 + "@b.example",
        "a\r\nb@c.example",
        '"a\r\nb"@c.example',
        "a\0@b.example",
        '"a\0"@b.example',
        "a\x7f@b.example",
        "a\x85@b.example",
        "a\u2028@b.example",
        "a@b\u2028.example",
        "a@\u2028",
        "a@" + "ü" * 300,
        "@a.example:b@c.example",
    ],
)
def test_what_is_no_address(text):
    assert isinstance(parse_mailbox(text), SyntaxFault)


def test_utf8_may_be_refused():
    assert isinstance(parse_mailbox("ü@b.example", allow_utf8=False), SyntaxFault)
    assert parse_mailbox("a@bücher.example", allow_utf8=False) == Mailbox("a", "xn--bcher-kva.example")


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("Alice@b.example", "alice@B.EXAMPLE", True),
        ('"alice"@b.example', "alice@b.example", True),
        ("JÜRGEN@b.example", "ju\u0308rgen@b.example", True),
        ("alice@b.example", "alice+x@b.example", False),
        ("alice@b.example", "a.lice@b.example", False),
        ("аlice@b.example", "alice@b.example", False),  # Cyrillic
    ],
)
def test_folded_is_the_key_of_tables(one, other, is_same):
    assert (parse_mailbox(one).folded == parse_mailbox(other).folded) is is_same


def test_is_ascii():
    assert parse_mailbox("a@bücher.example").is_ascii
    assert not parse_mailbox("ü@b.example").is_ascii


@pytest.mark.parametrize(
    ("text", "expected"),
    [("abc", False), ("a b", False), ("ü", False), ("a\tb", True), ("\x7f", True), ("\x80", True), ("\x9f", True),
     ("\xa0", False), ("\u2028", True), ("\u2029", True), ("ü\n", True), ("", False)],
)  # fmt: skip
def test_has_controls(text, expected):
    assert has_controls(text) is expected


@given(st.text(max_size=60))
def test_no_text_raises_and_what_is_read_can_be_written(text):
    mailbox = parse_mailbox(text)
    if isinstance(mailbox, Mailbox):
        assert parse_mailbox(str(mailbox)) == mailbox
        assert not has_controls(str(mailbox))


@given(st.text(max_size=60))
def test_canonical_domain_is_canonical(text):
    domain = canonical_domain(text)
    if domain is not None:
        assert canonical_domain(domain) == domain
        assert domain.isascii()
        assert len(domain) <= 253
