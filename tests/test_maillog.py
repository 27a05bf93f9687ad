"""How events read as lines: queue id first, the peer before its own words, nothing unescaped."""

import dataclasses

import pytest

from mailserver import maillog
from mailserver.maillog import MailEvent

EVENTS = [
    one
    for one in vars(maillog).values()
    if isinstance(one, type) and issubclass(one, MailEvent) and one is not MailEvent
]


def example(event, text="x"):
    """An event with `text` wherever text may stand."""
    values = {}
    for field in dataclasses.fields(event):
        kind = str(field.type)
        if "tuple" in kind:
            values[field.name] = (text,)
        elif "int" in kind:
            values[field.name] = 1
        elif "float" in kind:
            values[field.name] = 1.5
        elif "bool" in kind:
            values[field.name] = True
        elif "bytes" in kind:
            values[field.name] = text.encode("utf-8", "surrogatepass")
        else:
            values[field.name] = text
    return event(**values)


def test_a_line_begins_with_queue_id_word_and_peer():
    event = maillog.Accepted("25X8TJJVS6600", "192.0.2.1:4711", "<>", ("a@b.c", "d@e.f"), 12, "ESMTP")
    assert event.line() == (
        "25X8TJJVS6600 accepted [192.0.2.1:4711] reverse_path=<> recipients=a@b.c,d@e.f size_octets=12 protocol=ESMTP"
    )


def test_without_a_queue_id_the_word_comes_first():
    assert maillog.Refused("", "192.0.2.1:25", "RCPT", "550 5.1.1 no such user").line() == (
        'refused [192.0.2.1:25] command=RCPT reply="550 5.1.1 no such user"'
    )
    assert maillog.Trouble("", "disk", "no space").line() == 'trouble what=disk reason="no space"'


def test_seconds_have_three_places_and_zero_is_shown():
    assert maillog.Sent("Q", "a@b.c", "host", "250 ok", 0.0).line() == (
        'Q delivered recipient=a@b.c host=host reply="250 ok" delay_s=0.000'
    )


def test_what_only_the_journal_wants_is_not_in_the_line():
    event = maillog.Accepted("Q", "192.0.2.1:4711", "<>", (), 12, "ESMTP", hello="h.example", subject=b"secret plans")
    assert "secret" not in event.line()
    assert "h.example" not in event.line()
    assert maillog.Filed("Q", "a@b.c", "a@b.c", file="1.M2P3Q4.h").line() == "Q filed mailbox=a@b.c recipient=a@b.c"


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
@pytest.mark.parametrize("text", ["a\r\nb", "a\nfiled mailbox=x", "\x1b[31m", "\u2028", "\x00", 'a"b', "a b", "\udc80"])
def test_no_text_breaks_a_line_or_looks_like_another_field(event, text):
    line = example(event, text).line()
    assert len(line.splitlines()) == 1
    assert line.isprintable()
    line.encode("utf-8")
    for part in ('="a"b', "=a b"):
        assert part not in line


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
def test_every_event_has_a_word_of_its_own(event):
    assert event.word
    assert [one for one in EVENTS if one.word == event.word] == [event]
