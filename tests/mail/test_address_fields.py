"""Addresses where they stand, read leniently."""

import pytest

from mailserver.mail.address import Mailbox
from mailserver.mail.address_fields import addresses_in_text, mailbox_with_domain, with_domains

LISTS = [
    ("", []),
    ("a@x.example", ["a@x.example"]),
    ("a@x.example,b@x.example", ["a@x.example", "b@x.example"]),
    (" a@x.example ,, b@x.example ,", ["a@x.example", "b@x.example"]),
    ('Ann <a@x.example>, "Bob, the" <b@x.example>', ["a@x.example", "b@x.example"]),
    ("a@x.example (Ann (of, X), <no@x.example>)", ["a@x.example"]),
    ("(first) a@x.example", ["a@x.example"]),
    ("(an open comment a@x.example", []),
    ("Team: a@x.example, Bob <b@x.example>;, c@x.example", ["a@x.example", "b@x.example", "c@x.example"]),
    ("undisclosed-recipients:;", []),
    ("<>", []),
    ("root", ["root"]),
    ("root (Cron Daemon)", ["root"]),
    ("<a@x.example", ["a@x.example"]),
    ('"quoted, local"@x.example', ['"quoted, local"@x.example']),
    (r'"a\"b"@x.example', [r'"a\"b"@x.example']),
    ("a@[IPv6:2001:db8::1], b@[192.0.2.1]", ["a@[IPv6:2001:db8::1]", "b@[192.0.2.1]"]),
    ("jürgen@x.example", ["jürgen@x.example"]),
    # Told as it is: whoever reads it sees that it is no address.
    ("joe bob", ["joe bob"]),
    ("a@x.example\r\n\t, b@x.example", ["a@x.example", "b@x.example"]),
]


@pytest.mark.parametrize(("text", "expected"), LISTS)
def test_addresses_of_a_list(text, expected):
    assert addresses_in_text(text) == expected


@pytest.mark.parametrize("octets", [b"\x00", b"\\", b'"', b"[", b")", b">", b"<<>>", b"(" * 5000, b"\xff<\x80"])
def test_garbage_ends(octets):
    addresses_in_text(octets.decode("utf-8", "surrogateescape"))


def test_a_bare_name_belongs_to_the_given_domain():
    assert mailbox_with_domain("root", "example.test") == Mailbox("root", "example.test")
    assert mailbox_with_domain("postmaster", "example.test") == Mailbox("postmaster", "example.test")
    assert mailbox_with_domain('"a b"', "example.test") == Mailbox("a b", "example.test")
    assert mailbox_with_domain("a@far.example", "example.test") == Mailbox("a", "far.example")


@pytest.mark.parametrize("text", ["", "joe bob", "a@", "@x.example", "a@x..example", "a\nb", "a@x.example\n", "\udcff"])
def test_what_is_no_address(text):
    assert not isinstance(mailbox_with_domain(text, "example.test"), Mailbox)


HEADERS = [
    (b"From: root\r\n", b"From: root@example.test\r\n"),
    (b"From: root (Cron Daemon)\r\n", b"From: root@example.test (Cron Daemon)\r\n"),
    (b"From: Joe <joe>\r\n", b"From: Joe <joe@example.test>\r\n"),
    (b"To: a, b@far.example,\r\n\tc\r\n", b"To: a@example.test, b@far.example,\r\n\tc@example.test\r\n"),
    (b"Cc: undisclosed-recipients:;\r\n", b"Cc: undisclosed-recipients:;\r\n"),
    (b"To: Team: a, b;\r\n", b"To: Team: a@example.test, b@example.test;\r\n"),
    (b"RESENT-TO : a\r\n", b"RESENT-TO : a@example.test\r\n"),
    # Nothing else is touched: no other field, no text that is not one plain name.
    (b"Subject: root\r\nX-To: root\r\n", b"Subject: root\r\nX-To: root\r\n"),
    (b'To: joe bob, <>\r\nTo: "a b"\r\n', b'To: joe bob, <>\r\nTo: "a b"\r\n'),
    (b"", b""),
]


@pytest.mark.parametrize(("section", "expected"), HEADERS)
def test_bare_addresses_of_a_header_get_a_domain(section, expected):
    assert with_domains(section, "example.test") == expected
    assert with_domains(expected, "example.test") == expected
