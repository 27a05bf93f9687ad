"""Reading From strictly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mail.address_list import mailboxes_in


@pytest.mark.parametrize(
    ("text", "mailboxes"),
    [
        ("a@b.example", ["a@b.example"]),
        ("<a@b.example>", ["a@b.example"]),
        ("Alice <a@b.example>", ["a@b.example"]),
        ('"Alice, A." <a@b.example>', ["a@b.example"]),
        ('"<x@y.example>" <a@b.example>', ["a@b.example"]),
        ('"a \\" <x@y.example>" <a@b.example>', ["a@b.example"]),
        ("(x@y.example) a@b.example (z <q@r.example> (nested))", ["a@b.example"]),
        ("Alice (\\)) <a@b.example>", ["a@b.example"]),
        ("a@b.example, c@d.example", ["a@b.example", "c@d.example"]),
        ("A <a@b.example>, C <c@d.example>,", ["a@b.example", "c@d.example"]),
        (", a@b.example,,", ["a@b.example"]),
        ('"a,b"@c.example', ['"a,b"@c.example']),
        ('X <"a>b"@c.example>', ['"a>b"@c.example']),
        ("a@b.example <c@d.example>", ["c@d.example"]),
        ("a@[192.0.2.1]", ["a@[192.0.2.1]"]),
        ("ü@b.example", ["ü@b.example"]),
        ("< a@b.example >", ["a@b.example"]),
    ],
)
def test_lists(text, mailboxes):
    assert [str(mailbox) for mailbox in mailboxes_in(text)] == mailboxes


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        ",",
        "root",
        "postmaster",
        "<>",
        "<a@b.example",
        "a@b.example>",
        "<a@b.example> x",
        "<a@b.example> <c@d.example>",
        "<<a@b.example>>",
        "<a@b.example, c@d.example>",
        "a@b.example c@d.example",
        "Smith, John <a@b.example>",
        "group: a@b.example;",
        "undisclosed-recipients:;",
        '"a@b.example',
        "(a@b.example",
        "a@b.example)x(",
        "<@r.example:a@b.example>",
        "a @ b.example",
        'a@b.example"',
        '"a\\',
        "a@b.example\u2028, c@d.example",
        "x" * 20_000 + "@b.example",
    ],
)
def test_what_cannot_be_read(text):
    assert mailboxes_in(text) is None


@given(st.text(st.sampled_from('ab@.<>"\\(), :;'), max_size=40))
def test_nothing_raises(text):
    found = mailboxes_in(text)
    assert found is None or len(found) > 0
