"""Header sections are looked at and never changed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mail.headers import count_fields, fields, fields_named, first_value, header_end


@pytest.mark.parametrize(
    ("content", "section"),
    [
        (b"", b""),
        (b"\r\n", b""),
        (b"\r\nA: b\r\n", b""),
        (b"A: b\r\n\r\nbody\r\n", b"A: b\r\n"),
        (b"A: b\r\n", b"A: b\r\n"),
        (b"A: b\r\n\r\n", b"A: b\r\n"),
        (b"A: b\r\n c\r\n\td\r\nE:f\r\n\r\nbody", b"A: b\r\n c\r\n\td\r\nE:f\r\n"),
        (b"A : b\r\n\r\n", b"A : b\r\n"),
        (b"A:\r\n\r\n", b"A:\r\n"),
        (b"no field\r\nA: b\r\n\r\n", b""),
        (b" folded: first\r\n\r\n", b""),
        (b": empty name\r\n\r\n", b""),
        (b"A: b\r\nno field\r\nC: d\r\n\r\n", b"A: b\r\n"),
        (b"A: b\r\n>From x\r\nC: d\r\n\r\n", b"A: b\r\n"),
        (b"From x@y Thu Jan  1 00:00:00 1970\r\nA: b\r\n\r\n", b""),
        (b"A: b", b""),
        (b"A: b\r\nC: d", b"A: b\r\n"),
        (b"A: \xff\x00\r\n\r\n", b"A: \xff\x00\r\n"),
        (b"\xc3\xbc: b\r\n\r\n", b""),
    ],
)
def test_where_the_header_ends(content, section):
    assert content[: header_end(content)] == section


def test_fields():
    section = b"Subject: a\r\nTo:\r\n x@y,\r\n\tz@w\r\nX-Odd : \t b \r\n"
    found = list(fields(section))
    assert [(field.name, field.value) for field in found] == [
        (b"subject", b"a"),
        (b"to", b"x@y,\tz@w"),
        (b"x-odd", b"b"),
    ]
    assert b"".join(field.raw for field in found) == section
    assert [section[field.start : field.start + len(field.raw)] for field in found] == [field.raw for field in found]


@pytest.mark.parametrize(
    ("section", "count"),
    [
        (b"", 0),
        (b"Received: a\r\n", 1),
        (b"RECEIVED: a\r\nreceived:b\r\nX-Received: c\r\nSubject: Received: d\r\n received: e\r\n", 2),
    ],
)
def test_counting(section, count):
    assert count_fields(section, b"received") == count


@pytest.mark.parametrize(
    ("section", "value"),
    [
        (b"", b""),
        (b"Message-ID: <1@a>\r\n", b"<1@a>"),
        (b"A: b\r\nMESSAGE-ID:\r\n <1@a>\r\nMessage-ID: <2@a>\r\n", b"<1@a>"),
        (b"X-Message-ID: <1@a>\r\n", b""),
    ],
)
def test_first_value(section, value):
    assert first_value(section, b"message-id") == value


def test_fields_of_a_name():
    section = (
        b"Delivered-To: a@b\r\nX: Delivered-To: no\r\nDELIVERED-TO:\r\n c@d\r\nX-Delivered-To: e@f\r\ndelivered-to:\r\n"
    )
    assert [field.value for field in fields_named(section, b"delivered-to")] == [b"a@b", b"c@d", b""]
    assert all(section[field.start :].startswith(field.raw) for field in fields_named(section, b"delivered-to"))


def test_a_header_of_very_many_fields_is_looked_at_quickly():
    """Quadratic work would take minutes here."""
    content = b"Delivered-To:x\r\n" * 100_000 + b"\r\n"
    assert header_end(content) == len(content) - 2
    assert count_fields(content, b"delivered-to") == 100_000
    assert sum(1 for _ in fields_named(content, b"delivered-to")) == 100_000


@given(st.lists(st.sampled_from([b"A: b", b"\r\n", b" ", b"x", b":", b"\t", b"\r", b"\n", b"Received: y\r\n"])))
def test_any_content_has_an_end_within_it(parts):
    content = b"".join(parts)
    end = header_end(content)
    assert 0 <= end <= len(content)
    section = content[:end]
    assert end == 0 or section.endswith(b"\r\n")
    assert b"".join(field.raw for field in fields(section)) == section
