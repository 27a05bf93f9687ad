"""What the journal keeps of an event, and above all what it never keeps."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver import maillog
from mailserver.maillog import Accepted, Disconnected, Erased, LoginRefused, MailEvent, Refused, ReportMade, Trouble
from mailserver.store import journal_facts
from mailserver.store.journal_facts import (
    MAX_ATTEMPTS_NOTED,
    MAX_ITEMS,
    MAX_TEXT_CHARS,
    THINNED,
    Facts,
    address_key,
    decoded,
    message_id_key,
    peer_key,
)

EVENTS = [
    one
    for one in vars(maillog).values()
    if isinstance(one, type) and issubclass(one, MailEvent) and one is not MailEvent
]
ID = "0000000000001"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("<Alice@Example.org>", "a:alice@example.org"),
        ("alice@example.org", "a:alice@example.org"),
        ("<>", ""),
        ("", ""),
        ("MAILER-DAEMON", ""),
        ("<J\u00fcrgen@example.org>", "a:j\u00fcrgen@example.org"),
        ("<Ju\u0308rgen@example.org>", "a:j\u00fcrgen@example.org"),
        ('<"a b"@example.org>', 'a:"a b"@example.org'),
    ],
)
def test_addresses_are_folded(text, key):
    assert address_key(text) == key


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("192.0.2.1:4711", "p:192.0.2.1"),
        ("192.0.2.1", "p:192.0.2.1"),
        ("[2001:db8::1]:25", "p:2001:db8::1"),
        ("2001:db8::1", "p:2001:db8::1"),
        ("local", "p:local"),
    ],
)
def test_peers_are_found_without_their_port(text, key):
    assert peer_key(text) == key


def test_message_ids_are_found_with_and_without_brackets():
    assert message_id_key(" <1.A@b.example> ") == message_id_key("1.A@b.example") == "m:1.A@b.example"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"plain", "plain"),
        (b"=?utf-8?q?gr=C3=BC=C3=9Fe?= =?utf-8?q?_an_alle?=", "gr\u00fc\u00dfe an alle"),
        (b"Re: =?iso-8859-1?q?gr=FC=DFe?=", "Re: gr\u00fc\u00dfe"),
        ("gr\u00fc\u00dfe".encode(), "gr\u00fc\u00dfe"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"=?no-such-charset?q?abc?=", "=?no-such-charset?q?abc?="),
        (b"=?utf-8?b?!!!?=", "=?utf-8?b?!!!?="),
        (b"=?utf-8?b?/w==?=", "\ufffd"),
        (b"=?utf-8?q?cut in the mid", "=?utf-8?q?cut in the mid"),
    ],
)
def test_subjects_are_decoded_when_they_can_be(value, text):
    assert decoded(value) == text


@given(st.binary(max_size=300))
def test_no_subject_breaks_anything(value):
    event = Accepted(ID, "192.0.2.1:25", "<>", ("a@b.example",), 1, "ESMTP", subject=value)
    fact = Facts().of(1.0, event)
    assert json.loads(json.dumps(fact[0][3])).get("subject", "x").isprintable()


def test_texts_and_lists_are_bounded():
    event = Accepted(
        ID, "192.0.2.1:25", "<>", tuple(f"{n}@b.example" for n in range(5000)), 1, "E" * 5000, hello="x\r\n\x1b[31m"
    )
    (_, _, _, kept), mentions = Facts().of(1.0, event)
    assert (len(kept["protocol"]), len(kept["recipients"])) == (MAX_TEXT_CHARS, MAX_ITEMS)
    assert kept["hello"] == "x???[31m"
    assert len(mentions) == MAX_ITEMS + 1


def test_what_a_report_is_about_is_found_from_there():
    _, mentions = Facts().of(1.0, ReportMade("0000000000002", ID, "failed", "alice@example.org"))
    assert mentions == [f"q:{ID}", "a:alice@example.org"]
    _, mentions = Facts().of(1.0, Refused("", "192.0.2.1:25", "RCPT", "550 no", "bob@example.org", "<>"))
    assert mentions == ["p:192.0.2.1", "a:bob@example.org"]


def test_events_without_a_way_to_ask_for_them_are_left_out():
    assert Facts().of(1.0, Trouble("", "the disk", "it is full")) is None
    assert Facts().of(1.0, Trouble(ID, "the disk", "it is full")) is not None


@pytest.mark.parametrize("login", ["correct horse", "hunter2", "", "p@ss word", "@", "secret@"])
def test_what_may_be_a_password_in_the_wrong_field_is_not_kept(login):
    """Also "a@b" passwords look like addresses; only what parses as an address with a domain is kept."""
    row, mentions = Facts().of(1.0, LoginRefused("192.0.2.1:25", "pop3", login, "PLAIN", "wrong login or password"))
    assert "login" not in row[3]
    assert mentions == ["p:192.0.2.1"]


def test_a_login_that_is_an_address_is_kept():
    row, mentions = Facts().of(1.0, LoginRefused("192.0.2.1:25", "pop3", "Alice@example.org", "PLAIN", "wrong"))
    assert row[3]["login"] == "Alice@example.org"
    assert "a:alice@example.org" in mentions


def test_one_scanner_does_not_fill_the_history():
    facts, told = Facts(), []
    for number in range(1000):
        told.append(facts.of(float(number), Refused("", f"192.0.2.1:{number}", "AUTH", "503 no")))
    assert sum(fact is not None for fact in told) == MAX_ATTEMPTS_NOTED
    assert told[MAX_ATTEMPTS_NOTED - 1][0][2] == THINNED
    assert facts.of(1000.0, Disconnected("192.0.2.2:1", "smtp", "gone")) is not None
    assert facts.of(3700.0, Refused("", "192.0.2.1:9", "AUTH", "503 no"))[0][2] == "refused"


def test_an_ipv6_network_counts_as_one_client():
    facts = Facts()
    told = [facts.of(1.0, Refused("", f"[2001:db8::{n:x}]:25", "AUTH", "503 no")) for n in range(1, 400)]
    assert sum(fact is not None for fact in told) == MAX_ATTEMPTS_NOTED


def test_many_clients_need_bounded_memory():
    facts = Facts()
    for number in range(25_000):
        facts.of(1.0, Refused("", f"192.0.{number >> 8}.{number & 255}:1", "AUTH", "503 no"))
    assert len(facts._attempts) <= 10_000


SECRET = "tr0ub4dor&3"


@st.composite
def any_event(draw):
    """Any event with the secret wherever a text is not that of a known field."""
    kind = draw(st.sampled_from(EVENTS))
    values = {}
    for field in dataclasses.fields(kind):
        text = draw(st.sampled_from(["", "alice@example.org", "192.0.2.1:25", ID, "x" * 2000, "a\r\nb", "\udc80"]))
        of = str(field.type)
        if "tuple" in of:
            values[field.name] = (text,)
        elif "bytes" in of:
            values[field.name] = text.encode("utf-8", "surrogatepass")
        elif "int" in of or "float" in of:
            values[field.name] = draw(st.sampled_from([0, 1, 2**40, float("inf"), float("nan")]))
        else:
            values[field.name] = text
    if kind is LoginRefused:
        values["login"] = SECRET
    return kind(**values)


@given(st.lists(any_event(), max_size=20), st.booleans(), st.booleans())
def test_no_event_brings_a_secret_or_breaks_a_row(events, subjects, message_ids):
    facts = Facts(subjects=subjects, message_ids=message_ids)
    for event in events:
        fact = facts.of(1.0, event)
        if fact is None:
            continue
        (_, _, _, kept), mentions = fact
        text = json.dumps([fact], ensure_ascii=False, allow_nan=False)
        text.encode("utf-8")
        assert SECRET not in text
        assert len(text) < 40_000
        assert "password" not in {*kept}
        assert subjects or "subject" not in kept
        assert message_ids or "message_id" not in kept
        assert all(isinstance(mention, str) and mention[1] == ":" for mention in mentions)


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_no_event_has_a_field_for_a_password_or_content(kind):
    names = {field.name for field in dataclasses.fields(kind)}
    assert not names & {"password", "content", "body", "secret", "credentials"}


def test_kinds_of_mentions_cannot_be_mistaken_for_each_other():
    keys = [journal_facts.file_key(ID), journal_facts.queue_id_key(ID), peer_key(ID), message_id_key(ID)]
    assert len(set(keys)) == len(keys)
    assert Facts().of(1.0, Erased("local", "a@b.example", "f"))[1] == ["p:local", "a:a@b.example", "f:f"]
