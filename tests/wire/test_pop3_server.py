"""The POP3 machine: grammar, sequence, limits, and the same events however the octets are cut."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mail import pop3_reply as replies
from mailserver.mail.pop3_reply import Pop3Reply
from mailserver.wire.pop3_events import (
    Auth,
    Capabilities,
    Delete,
    Faulted,
    InjectedOctets,
    Language,
    List,
    Mechanisms,
    Noop,
    Password,
    Quit,
    Reset,
    Retrieve,
    StartTls,
    Stat,
    Top,
    UniqueIds,
    User,
    Utf8,
)
from mailserver.wire.pop3_server import COMMANDS, MAX_COMMAND_OCTETS, Pop3Server, State
from mailserver.wire.sasl import MAX_SASL_LINE_OCTETS, Challenge, Claim, Mechanism, SaslFault

PLAIN_ALICE = b"AGFsaWNlQGV4YW1wbGUudGVzdABjb3JyZWN0IGhvcnNl"
CLAIM_ALICE = Claim("", "alice@example.test", "correct horse")


def greeted() -> Pop3Server:
    machine = Pop3Server()
    assert machine.greet(replies.greeting("mail.example.test")) == b"+OK mail.example.test POP3 server ready\r\n"
    return machine


def logged_in() -> Pop3Server:
    machine = greeted()
    machine.receive(b"PASS x\r\n")
    machine.next_event()
    machine.reply(replies.logged_in(3, 300))
    assert machine.state is State.TRANSACTION
    return machine


def answered(event) -> Pop3Reply:
    """A session that accepts everything."""
    match event:
        case Faulted():
            return event.reply
        case Password() | Auth(step=Claim()):
            return replies.logged_in(0, 0)
        case Auth(step=Challenge()):
            return replies.challenge("")
        case Auth(step=SaslFault()) | InjectedOctets():
            return replies.INJECTED_OCTETS
        case _:
            return replies.ok("yes")


def converse(machine: Pop3Server, pieces) -> tuple[list, bytes]:
    events, out = [], b""
    for piece in pieces:
        machine.receive(piece)
        while (event := machine.next_event()) is not None:
            events.append(event)
            assert machine.next_event() is None, "one event at a time"
            out += machine.reply(answered(event))
    return events, out


def only_event(machine: Pop3Server, line: bytes):
    machine.receive(line + b"\r\n")
    return machine.next_event()


@pytest.mark.parametrize(
    ("line", "event"),
    [
        (b"USER alice@example.test", User("alice@example.test")),
        (b"user  alice ", User("alice")),
        (b'USER "a b"@example.test', User('"a b"@example.test')),
        ("USER ädmin@example.test".encode(), User("ädmin@example.test")),
        (b"PASS correct horse", Password("correct horse")),
        (b"PASS  two  blanks ", Password(" two  blanks ")),  # everything behind one blank
        (b"PASS ", Password("")),
        ("PASS grün".encode(), Password("grün")),
        ("PASS grün".encode("latin-1"), Password("grün")),
        (b"CAPA", Capabilities()),
        (b"capa ", Capabilities()),
        (b"STLS", StartTls()),
        (b"UTF8", Utf8()),
        (b"LANG", Language(None)),
        (b"LANG *", Language("*")),
        (b"AUTH", Mechanisms()),
        (b"AUTH PLAIN", Auth(Mechanism.PLAIN, Challenge(b""))),
        (b"auth plain " + PLAIN_ALICE, Auth(Mechanism.PLAIN, CLAIM_ALICE)),
        (b"AUTH LOGIN", Auth(Mechanism.LOGIN, Challenge(b"Username:"))),
        (b"QUIT", Quit()),
    ],
)
def test_commands_before_login(line, event):
    assert only_event(greeted(), line) == event


@pytest.mark.parametrize(
    ("line", "event"),
    [
        (b"STAT", Stat()),
        (b"stat  ", Stat()),
        (b"LIST", List(None)),
        (b"LIST 2", List(2)),
        (b"LIST 2 ", List(2)),
        (b"UIDL", UniqueIds(None)),
        (b"UIDL 1", UniqueIds(1)),
        (b"RETR 3", Retrieve(3)),
        (b"RETR 007", Retrieve(7)),
        (b"TOP 1 0", Top(1, 0)),
        (b"TOP 1 99999999", Top(1, 99999999)),
        (b"TOP  1  5", Top(1, 5)),
        (b"DELE 1", Delete(1)),
        (b"RSET", Reset()),
        (b"NOOP", Noop()),
        (b"CAPA", Capabilities()),
        (b"LANG en", Language("en")),
        (b"QUIT", Quit()),
    ],
)
def test_commands_after_login(line, event):
    assert only_event(logged_in(), line) == event


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (b"", replies.EMPTY_COMMAND),
        (b" USER alice", replies.EMPTY_COMMAND),
        (b"HELO", replies.UNKNOWN_COMMAND),
        (b"APOP alice c4c9334bac560ecc979e58001b3e22fb", replies.UNKNOWN_COMMAND),
        (b"GET / HTTP/1.1", replies.UNKNOWN_COMMAND),
        (b"\xff\xfe", replies.UNKNOWN_COMMAND),
        (b"USER\talice", replies.UNKNOWN_COMMAND),
        (b"USER", replies.WANTS_NAME),
        (b"USER  ", replies.WANTS_NAME),
        (b"USER \xff", replies.NOT_UTF8),
        (b"USER a\x1bb", replies.LINE_WITH_CONTROLS),
        (b"USER a\0b", replies.LINE_WITH_CONTROLS),
        (b"PASS a\0b", replies.LINE_WITH_CONTROLS),
        (b"PASS a\rb", replies.LINE_WITH_CONTROLS),
        (b"PASS", replies.WANTS_PASSWORD),
        (b"STLS now", replies.NO_ARGUMENTS),
        (b"LANG en de", replies.WANTS_LANGUAGE),
        (b"LANG \xff", replies.WANTS_LANGUAGE),
        (b"AUTH CRAM-MD5", replies.MECHANISM_UNKNOWN),
        (b"AUTH \xff", replies.MECHANISM_UNKNOWN),
        (b"AUTH PLAIN a b", replies.WANTS_MECHANISM),
        (b"AUTH PLAIN !!!", replies.auth_malformed("the response is not base64")),
        *[(line, replies.NOT_BEFORE_LOGIN) for line in (b"STAT", b"LIST", b"UIDL", b"RETR 1", b"TOP 1 1", b"DELE 1")],
        *[(line, replies.NOT_BEFORE_LOGIN) for line in (b"RSET", b"NOOP", b"DELE x")],
    ],
)
def test_refused_before_login(line, reply):
    event = only_event(greeted(), line)
    assert isinstance(event, Faulted)
    assert event.reply == reply


# What int() or an index from the end would take (hazards, "POP3").
NO_NUMBERS = [b"0", b"-1", b"+1", b"1_0", "１".encode(), b"\xb2", b"1.0", b"1e1", b"0x1", b"x", b"1" * 16, b"1\t"]


@pytest.mark.parametrize("word", NO_NUMBERS)
@pytest.mark.parametrize("verb", [b"DELE", b"RETR", b"LIST", b"UIDL"])
def test_only_ascii_digits_from_1_are_a_message_number(verb, word):
    event = only_event(logged_in(), verb + b" " + word)
    assert event == Faulted(verb.decode(), replies.WANTS_NUMBER)


@pytest.mark.parametrize("words", [b"", b"1", b"0 1", b"1 -1", b"1 +1", b"1 1_0", b"1 2 3", b"-1 0", b"1 \xb2"])
def test_top_wants_two_numbers(words):
    assert only_event(logged_in(), b"TOP " + words) == Faulted("TOP", replies.WANTS_NUMBER_AND_LINES)


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (b"RETR", replies.WANTS_NUMBER),
        (b"DELE 1 2", replies.WANTS_NUMBER),
        (b"LIST 1 2", replies.WANTS_NUMBER),
        (b"STAT 1", replies.NO_ARGUMENTS),
        (b"NOOP x", replies.NO_ARGUMENTS),
        (b"USER alice", replies.NOT_AFTER_LOGIN),
        (b"PASS x", replies.NOT_AFTER_LOGIN),
        (b"AUTH PLAIN", replies.NOT_AFTER_LOGIN),
        (b"STLS", replies.NOT_AFTER_LOGIN),
        (b"UTF8", replies.NOT_AFTER_LOGIN),  # RFC 6856 2: in AUTHORIZATION only
    ],
)
def test_refused_after_login(line, reply):
    event = only_event(logged_in(), line)
    assert isinstance(event, Faulted) and event.reply == reply


def test_every_command_of_the_table_is_understood_somewhere():
    assert all(command.states for command in COMMANDS.values())
    assert set(COMMANDS) == set(b"USER PASS STLS UTF8 STAT LIST UIDL RETR TOP DELE RSET NOOP CAPA LANG QUIT".split())


def test_a_bare_lf_ends_a_command_as_people_type_it():
    events, _ = converse(greeted(), [b"USER alice\nPASS a\n"])
    assert events == [User("alice"), Password("a")]


def test_pipelined_commands_wait_for_their_replies_in_order():
    machine = logged_in()
    machine.receive(b"RETR 1\r\nDELE 1\r\nQUIT\r\nNOOP\r\n")
    assert machine.next_event() == Retrieve(1)
    assert machine.next_event() is None
    machine.reply(replies.message(0, b".\r\n"))
    assert machine.next_event() == Delete(1)
    machine.reply(replies.deleted(1))
    assert machine.next_event() == Quit()
    machine.reply(replies.updated(1))
    assert machine.state is State.UPDATE
    assert machine.next_event() is None, "what stands behind QUIT is dropped"
    machine.receive(b"NOOP\r\n")
    assert not machine.has_buffered_octets


def test_octets_behind_stls_are_never_executed():
    machine = greeted()
    machine.receive(b"STLS\r\nUSER mallory\r\nPASS x\r\n")
    assert machine.next_event() == InjectedOctets()
    assert machine.reply(replies.INJECTED_OCTETS).startswith(b"-ERR")
    assert machine.next_event() is None and not machine.has_buffered_octets


def test_octets_that_come_while_stls_is_answered_are_seen_by_the_driver():
    machine = greeted()
    machine.receive(b"STLS\r\n")
    assert machine.next_event() == StartTls()
    machine.receive(b"USER mallory\r\n")
    machine.reply(replies.BEGIN_TLS)
    assert machine.has_buffered_octets
    assert machine.next_event() is None


def test_tls_forgets_what_was_said_in_clear():
    machine = greeted()
    machine.receive(b"AUTH PLAIN\r\n")
    machine.next_event()
    machine.reply(replies.challenge(""))
    machine.tls_started()
    assert only_event(machine, b"CAPA") == Capabilities()


def test_with_implicit_tls_nothing_is_read_before_the_greeting():
    machine = Pop3Server()
    machine.tls_started()
    machine.receive(b"CAPA\r\n")
    assert machine.next_event() is None
    machine.greet(replies.greeting("mail.example.test"))
    assert machine.next_event() == Capabilities()


def test_a_refused_stls_goes_on_in_clear():
    machine = greeted()
    machine.receive(b"STLS\r\n")
    machine.next_event()
    machine.reply(replies.TLS_NOT_AVAILABLE)
    assert only_event(machine, b"CAPA") == Capabilities()


@pytest.mark.parametrize("over", [0, 1, 5000])
def test_a_line_has_a_limit_and_an_over_long_one_is_dropped_to_its_end(over):
    line = b"USER " + b"x" * (MAX_COMMAND_OCTETS - 2 - 5 + over)
    events, _ = converse(greeted(), [line + b"\r\nCAPA\r\n"])
    first = Faulted("", replies.LINE_TOO_LONG) if over else User(line[5:].decode())
    assert events == [first, Capabilities()]


def test_an_endless_line_is_refused_once_and_costs_no_memory():
    machine = greeted()
    events = []
    for _ in range(1000):
        new, _ = converse(machine, [b"x" * 4096])
        events += new
        assert machine.buffered_octets <= MAX_COMMAND_OCTETS
    assert events == [Faulted("", replies.LINE_TOO_LONG)]
    assert converse(machine, [b"\r\nCAPA\r\n"])[0] == [Capabilities()]


def test_sasl_lines_may_be_longer():
    """RFC 5034 4 and RFC 4954 4: 12,288 octets are read."""
    long = b"AGEA" + b"eHh4" * 3000
    claim = Claim("", "a", "xxx" * 3000)
    assert only_event(greeted(), b"AUTH PLAIN " + long) == Auth(Mechanism.PLAIN, claim)
    events, out = converse(greeted(), [b"AUTH PLAIN\r\n" + long + b"\r\n"])
    assert events[1] == Auth(Mechanism.PLAIN, claim) and out.startswith(b"+ \r\n")
    events, _ = converse(greeted(), [b"AUTH PLAIN\r\n" + b"x" * MAX_SASL_LINE_OCTETS + b"\r\nCAPA\r\n"])
    assert events[1:] == [Faulted("", replies.LINE_TOO_LONG), Capabilities()]


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (b"*", replies.AUTH_CANCELLED),
        (b"garbage!", replies.auth_malformed("the response is not base64")),
        (b"QUIT\0", replies.LINE_WITH_CONTROLS),
    ],
)
def test_an_exchange_that_fails_gives_the_conversation_back(line, reply):
    events, _ = converse(greeted(), [b"AUTH PLAIN\r\n" + line + b"\r\nCAPA\r\n"])
    assert isinstance(events[1], Faulted) and events[1].reply == reply
    assert events[2] == Capabilities()


def test_auth_login_asks_twice():
    machine = greeted()
    assert only_event(machine, b"AUTH LOGIN") == Auth(Mechanism.LOGIN, Challenge(b"Username:"))
    assert machine.reply(replies.challenge("VXNlcm5hbWU6")) == b"+ VXNlcm5hbWU6\r\n"
    assert only_event(machine, b"YWxpY2VAZXhhbXBsZS50ZXN0") == Auth(Mechanism.LOGIN, Challenge(b"Password:"))
    machine.reply(replies.challenge("UGFzc3dvcmQ6"))
    assert only_event(machine, b"Y29ycmVjdCBob3JzZQ==") == Auth(Mechanism.LOGIN, CLAIM_ALICE)
    machine.reply(replies.logged_in(0, 0))
    assert machine.state is State.TRANSACTION


INPUT = st.lists(
    st.one_of(
        st.sampled_from(
            [
                b"USER alice\r\n",
                b"PASS correct horse\r\n",
                b"AUTH PLAIN\r\n",
                b"AUTH LOGIN\r\n",
                b"AUTH PLAIN " + PLAIN_ALICE + b"\r\n",
                PLAIN_ALICE + b"\r\n",
                b"*\r\n",
                b"RETR 1\r\n",
                b"TOP 1 0\n",
                b"DELE -1\r\n",
                b"UIDL\r\n",
                b"CAPA\r\n",
                b"NOOP\r",
                b"\n",
                b"\r",
                b"\r\n",
                b"QUIT\r\n",
                b"x" * 509 + b"\r\n",
                b"x" * 510 + b"\r\n",
                b"x" * 511 + b"\r\n",
                b"x" * 510 + b"\r\r\n",
                b"y" * 600,
                b"AUTH PLAIN " + b"z" * 700 + b"\r\n",
                b"AUTH " + b"z" * 17000 + b"\r\n",
            ]
        ),
        st.binary(max_size=8),
    ),
    max_size=12,
).map(b"".join)


@given(INPUT, st.lists(st.integers(0, 20000), max_size=12))
def test_any_split_gives_the_same_events_and_replies(octets, cuts):
    cuts = sorted({0, len(octets), *[cut for cut in cuts if cut < len(octets)]})
    pieces = [octets[start:end] for start, end in itertools.pairwise(cuts)]
    assert converse(greeted(), pieces) == converse(greeted(), [octets])


@given(INPUT.filter(lambda octets: len(octets) < 3000))
def test_octet_by_octet_gives_the_same_events_and_replies(octets):
    pieces = [octets[at : at + 1] for at in range(len(octets))]
    assert converse(greeted(), pieces) == converse(greeted(), [octets])
