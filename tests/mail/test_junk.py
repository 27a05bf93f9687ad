"""The fields that say what is junk: written in bounds, and forged ones taken out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mail.junk import (
    MAX_FIELDS_OCTETS,
    PLACE,
    Marks,
    fields_of,
    padded_fields_of,
    usable_field,
    without_marks,
)

ANY = st.text(max_size=80)
MARKS = st.builds(
    Marks,
    is_junk=st.booleans(),
    score=st.none() | st.floats(-1e5, 1e5),
    tests=st.lists(ANY, max_size=40).map(tuple),
    lists=st.lists(ANY, max_size=10).map(tuple),
    dmarc=ANY,
    fields=st.lists(st.tuples(ANY, ANY), max_size=10).map(
        lambda pairs: tuple(one for name, value in pairs if (one := usable_field(f"X-Spam-{name}", value)))
    ),
)


def test_mail_programs_find_what_they_look_for():
    marks = Marks(
        True, 8.1, ("BAYES_SPAM", "MIME_BAD"), ("Example list",), "shop.example", (("X-Spam-Level", "*****"),)
    )
    assert fields_of(marks) == (
        b"X-Spam-Flag: YES\r\n"
        b"X-Spam-Level: *****\r\n"
        b"X-Spam-Status: Yes, score=8.10 dnsbl=Example_list dmarc=shop.example tests=BAYES_SPAM,MIME_BAD\r\n"
    )
    assert fields_of(Marks(False, -0.5)) == b"X-Spam-Flag: NO\r\nX-Spam-Status: No, score=-0.50\r\n"


@given(marks=MARKS)
def test_whatever_it_holds_it_is_whole_lines_within_bounds(marks):
    for octets in (fields_of(marks), padded_fields_of(marks)):
        assert octets.isascii() and octets.endswith(b"\r\n") and len(octets) <= MAX_FIELDS_OCTETS
        lines = octets[:-2].split(b"\r\n")
        assert all(line.startswith(b"X-Spam-") and len(line) <= 998 and line.decode().isprintable() for line in lines)
        assert lines[0].startswith(b"X-Spam-Flag: YES" if marks.is_junk else b"X-Spam-Flag: NO")


@given(marks=MARKS)
def test_in_a_streamed_content_they_fill_their_place_to_the_octet(marks):
    octets = padded_fields_of(marks)
    assert (len(octets), octets.count(b"\n")) == (len(PLACE), PLACE.count(b"\n"))


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("X-Spam-Level", "***", ("X-Spam-Level", "***")),
        ("X-Spam-Level", "a\r\nBcc: x@y.example", ("X-Spam-Level", "a??Bcc: x@y.example")),
        ("X-Spam-Level", "\u2028\x00\x1b[31m\x85", ("X-Spam-Level", "???[31m?")),
        ("X-Spam-Level", "x" * 10_000, ("X-Spam-Level", "x" * 200)),
        ("X-Spam-Level", "  ", None),
        ("X-Spam-Status", "No", None),
        ("x-spam-FLAG", "NO", None),
        ("X-Spam-A: b\r\nSubject", "x", None),
        ("X-Spam-", "x", None),
        ("Subject", "x", None),
        ("Authentication-Results", "x", None),
        ("X-Spam-" + "a" * 41, "x", None),
        ("X-Spam-\u00e4", "x", None),
    ],
)
def test_a_filter_may_write_only_harmless_fields(name, value, kept):
    assert usable_field(name, value) == kept


FORGED = [
    b"X-Spam-Status: No\r\n",
    b"x-spam-flag: no\r\n",
    b"X-SPAM-Anything : No,\r\n score=-5\r\n\tmore\r\n",
    b"X-Spam-Status: No\r\nX-Spam-Flag: NO\r\n",
]


@pytest.mark.parametrize("forged", FORGED)
@pytest.mark.parametrize(
    "content",
    [
        b"From: a@b.example\r\nX-Spamless: 1\r\n\r\nX-Spam-Status: body\r\n",
        b"\r\nX-Spam-Flag: body\r\n\r\nX-Spam-Flag: body\r\n",
    ],
)
def test_what_a_stranger_wrote_is_taken_out_of_the_header_only(forged, content):
    for made in (forged + content, b"A: 1\r\n" + forged + content):
        assert without_marks(made) == made.replace(forged, b"", 1)
    for kept in (content, b"Subject: X-Spam-Status: No\r\n" + content, b"A: 1\r\n X-Spam-Status: No\r\n" + content):
        assert without_marks(kept) is kept or without_marks(kept) == kept


def test_a_header_that_is_all_and_has_no_end():
    assert without_marks(b"A: 1\r\nX-Spam-Status: No\r\n") == b"A: 1\r\n"
    assert without_marks(b"X-Spam-Status: No") == b""
    large = b"X-Spam-Flag: NO\r\n" * 20_000
    assert without_marks(large + b"\r\n") == b"\r\n"
