"""The reply parser: what is a reply, what is not, and that cutting the octets changes nothing."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailserver.mail.reply import Reply
from mailserver.wire import smtp_replies
from mailserver.wire.smtp_replies import MAX_LINE_OCTETS, MAX_REPLY_OCTETS, ReplyFault, ReplyParser


def parse(*pieces):
    parser = ReplyParser()
    out = []
    for piece in pieces:
        parser.receive(piece)
    while (reply := parser.next_reply()) is not None:
        out.append(reply)
    return out, parser.has_input


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (b"250 ok\r\n", Reply(250, "", ("ok",))),
        (b"250\r\n", Reply(250, "", ("",))),
        (b"250 \r\n", Reply(250, "", ("",))),
        (b"250 ok\n", Reply(250, "", ("ok",))),  # bare LF ends a line here
        (b"250 ok\r\r\n", Reply(250, "", ("ok",))),
        (b"250\tok\r\n", Reply(250, "", ("ok",))),
        (b"220-hello\r\n220 there\r\n", Reply(220, "", ("hello", "there"))),
        (b"220-hello\r\n220\r\n", Reply(220, "", ("hello", ""))),
        (b"250 2.1.5 fine\r\n", Reply(250, "2.1.5", ("fine",))),
        (b"250 2.1.5\r\n", Reply(250, "2.1.5", ("",))),
        (b"550-5.1.1 no\r\n550 5.1.1 body\r\n", Reply(550, "5.1.1", ("no", "body"))),
        (b"550-5.1.1 no\r\n550 body\r\n", Reply(550, "5.1.1", ("no", "body"))),
        (b"550-why\r\n550 5.7.1 policy\r\n", Reply(550, "5.7.1", ("why", "policy"))),
        (b"550 2.1.5 confused\r\n", Reply(550, "", ("2.1.5 confused",))),  # the class contradicts the code
        (b"550 5.1.1234 odd\r\n", Reply(550, "", ("5.1.1234 odd",))),
        (b"550 5.1.1: colon\r\n", Reply(550, "", ("5.1.1: colon",))),
        (b"250-first\r\n251 second\r\n", Reply(251, "", ("first", "second"))),  # same class: the last code counts
        (b"220-hello\r\n  banner art\r\n220 done\r\n", Reply(220, "", ("hello", "  banner art", "done"))),
        ("250 grüß Gott\r\n".encode(), Reply(250, "", ("grüß Gott",))),
        (b"250 gr\xfc\xdf Gott\r\n", Reply(250, "", ("grüß Gott",))),  # not UTF-8: Latin-1
        (b"250 a\0b\x1b[2J\r\n", Reply(250, "", ("a\0b\x1b[2J",))),  # whoever prints it makes it printable
    ],
)
def test_what_is_a_reply(octets, expected):
    assert parse(octets) == ([expected], False)


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"hello\r\n", "something that is no SMTP reply"),
        (b"\r\n", "something that is no SMTP reply"),
        (b" 250 ok\r\n", "something that is no SMTP reply"),
        (b"25 ok\r\n", "something that is no SMTP reply"),
        (b"2500 ok\r\n", "something that is no SMTP reply"),
        (b"250_ok\r\n", "something that is no SMTP reply"),
        (b"250ok\r\n", "something that is no SMTP reply"),
        (b"150 wait\r\n", "something that is no SMTP reply"),
        (b"600 what\r\n", "something that is no SMTP reply"),
        (b"000 what\r\n", "something that is no SMTP reply"),
        ("２５０ ok\r\n".encode(), "something that is no SMTP reply"),
        (b"HTTP/1.1 400 Bad Request\r\n", "something that is no SMTP reply"),
        (b"250-yes\r\n550 no\r\n", "a reply whose lines contradict each other"),
        (b"550-no\r\n250 yes\r\n", "a reply whose lines contradict each other"),
        (b"250-more\r\n" * 1000, "a reply of too many lines"),
        (b"250 " + b"x" * MAX_REPLY_OCTETS, "a reply without end"),
        (b"y" * (MAX_REPLY_OCTETS + 1), "a reply without end"),
        ((b"250-" + b"x" * 2000 + b"\r\n") * 40, "a reply without end"),
    ],
)
def test_what_is_no_reply(octets, reason):
    replies, _ = parse(octets)
    assert [reply.reason for reply in replies if isinstance(reply, ReplyFault)] == [reason]


def test_a_fault_keeps_the_first_lines_and_nothing_follows_it():
    replies, has_input = parse(b"HTTP/1.1 400 Bad Request\r\n250 ok\r\n", b"250 ok\r\n")
    assert replies == [ReplyFault("something that is no SMTP reply", ("HTTP/1.1 400 Bad Request",))]
    assert not has_input


def test_a_long_line_is_cut_but_read_to_its_end():
    replies, _ = parse(b"250 " + b"x" * 10_000 + b"\r\n250 next\r\n")
    assert [len(reply.lines[0]) for reply in replies] == [MAX_LINE_OCTETS - 4, 4]


def test_glued_replies_are_separate():
    replies, has_input = parse(b"250 one\r\n550 two\r\n354 three\r\n25")
    assert [reply.code for reply in replies] == [250, 550, 354]
    assert has_input


LINES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [b"250 ok", b"250-more", b"550 5.1.1 no", b"421 bye", b"250", b"\r", b"x" * 5000, b"250-" + b"y" * 9000]
    ),
)


@given(st.lists(LINES, max_size=30), st.sampled_from([b"\r\n", b"\n"]), st.lists(st.integers(0, 400), max_size=20))
def test_however_the_octets_are_cut_the_replies_are_the_same(lines, ending, cuts):
    octets = b"".join(line + ending for line in lines)
    pieces, position = [], 0
    for cut in cuts:
        pieces.append(octets[position : position + cut])
        position += cut
    pieces.append(octets[position:])
    assert parse(*pieces) == parse(octets)


@pytest.mark.parametrize(
    "octets", [b"250-a\r\n250-5.1.1 b\r\n250 c\r\n354 go\r\n", (b"250-" + b"x" * 9000 + b"\n") * 8]
)
def test_one_octet_at_a_time_is_the_same(octets):
    assert parse(*(octets[i : i + 1] for i in range(len(octets)))) == parse(octets)


@given(st.sampled_from([b"250", b"354", b"421", b"550"]), st.sampled_from([b"", b" ", b"\t"]), st.binary(max_size=30))
@example(b"250", b" ", b"2.0.0 ok")
@example(b"250", b" ", b"5.0.0 ok")
@example(b"250", b" ", b"2.0.0")
@example(b"250", b"", b"")
def test_the_short_way_of_one_line_says_the_same_as_the_long_one(code, separator, text):
    line = code + separator + (text if separator else b"")
    assert smtp_replies._short_reply(line) == smtp_replies._reply([line])
