"""The clockwork and the valves of a connection, with a machine and a session of the simplest kind.

The toy machine makes an event of every line; the toy session answers `slow` later, breaks on `boom`, echoes the rest.
"""

import socket
from dataclasses import dataclass

import pytest
from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from mailserver.mail.peer import peer_from
from mailserver.net.connection import CLOSE_GRACE_S, MAX_UNREAD_OCTETS, STALLED_S
from mailserver.net.conversation import MAX_ROUND_OCTETS, MAX_ROUND_REPLIES, Conversation
from mailserver.net.deadlines import TimedOut, Timeouts
from mailserver.net.turns import Turns
from mailserver.ports import Answer, Then
from tests.fakes.clock import FakeClock


class ToyMachine:
    def __init__(self):
        self.buffer = b""
        self.in_content = False
        self.octets = 0
        self.tls = 0

    def receive(self, octets):
        self.buffer += octets
        if self.in_content:
            self.octets += len(octets)
            self.buffer = b""

    def next_event(self):
        line, found, rest = self.buffer.partition(b"\n")
        if not found:
            return None
        self.buffer = rest
        return line.decode()

    def tls_started(self):
        self.tls += 1

    @property
    def has_buffered_octets(self):
        return bool(self.buffer)


class ToySession:
    def __init__(self):
        self.answers = {}
        self.lost_because = None
        self.is_stranger = True
        self.is_waiting = False
        self.asked = []

    async def greet(self):
        return Answer("hello")

    async def answer(self, event):
        self.asked.append(event)
        if event == "boom":
            raise ValueError("nobody named this")
        if event == "quit":
            return Answer("bye", Then.CLOSE)
        if event == "enough":
            return Answer("go", Then.CLOSE, "421 Too many errors, closing")
        if event == "tls":
            return Answer("go ahead", Then.START_TLS)
        if event.startswith("slow"):
            waiting = self.answers[event] = Deferred()
            await waiting
        return Answer(event)

    def tls_started(self, details):
        self.details = details

    def lost(self, reason):
        self.lost_because = reason


class ToyConversation(Conversation):
    def _greet(self):
        self._answer(self._session.greet(), self.encode)

    def _next(self):
        event = self._machine.next_event()
        if event is None:
            return False
        self._answer(self._session.answer(event), self.encode)
        return True

    @staticmethod
    def encode(reply):
        return f"{reply}\n".encode()

    def _farewell(self, why):
        return f"end: {why.name if why else 'stop'}\n".encode()

    def _broken(self):
        return b"broken\n"

    def _is_in_content(self):
        return self._machine.in_content

    def _content_octets(self):
        return self._machine.octets


class Transport(StringTransport):
    """StringTransport, and it counts writes, drops on abort and never completes a close by itself."""

    def __init__(self):
        super().__init__()
        self.writes = 0
        self.aborted = False
        self.started_tls = None

    def write(self, data):
        self.writes += 1
        super().write(data)

    def abortConnection(self):
        self.aborted = True

    def startTLS(self, context):
        self.started_tls = context


@dataclass
class Line:
    """One connection under test."""

    conversation: ToyConversation
    transport: Transport
    clock: FakeClock
    machine: ToyMachine
    session: ToySession
    log: list
    left: list

    def say(self, octets):
        self.conversation.dataReceived(octets)

    def go_on(self):
        """Give the conversation as many turns as it can want."""
        for _ in range(2 * MAX_UNREAD_OCTETS // MAX_ROUND_REPLIES):
            self.clock.advance(0)

    def heard(self):
        octets = self.transport.value()
        self.transport.clear()
        return octets


@pytest.fixture
def line():
    return connect()


def connect(timeouts=None, tls=None, implicit=False):
    clock, transport, log, left, entered = FakeClock(), Transport(), [], [], []
    machine, session = ToyMachine(), ToySession()

    class Members:
        def entered(self, conversation):
            entered.append(conversation)

        def left(self, conversation):
            left.append(conversation)

    conversation = ToyConversation(
        "toy",
        machine,
        session,
        peer_from("192.0.2.1", 4711),
        timeouts or Timeouts(command_s=30, content_s=1000, min_rate=10),
        clock,
        log.append,
        Members(),
        Turns(clock),
        tls,
        is_implicit_tls=implicit,
    )
    conversation.makeConnection(transport)
    assert entered == [conversation]
    made = Line(conversation, transport, clock, machine, session, log, left)
    if not implicit:
        assert made.heard() == b"hello\n"
    return made


def test_pipelined_commands_are_answered_in_order_and_in_one_write(line):
    line.transport.writes = 0
    line.say(b"a\nb\nc\n")
    assert line.heard() == b"a\nb\nc\n"
    assert line.transport.writes == 1


def test_a_slow_answer_holds_those_behind_it(line):
    line.say(b"a\nslow1\nb\nslow2\nc\n")
    assert line.heard() == b"a\n"
    line.session.answers["slow1"].callback(None)
    assert line.heard() == b"slow1\nb\n"
    line.session.answers["slow2"].callback(None)
    assert line.heard() == b"slow2\nc\n"


def test_reading_stops_while_an_answer_is_worked_out_and_much_has_come(line):
    line.say(b"slow\n")
    line.say(b"x" * MAX_UNREAD_OCTETS)
    assert line.transport.producerState == "producing"
    line.say(b"x")
    assert line.transport.producerState == "paused"
    line.session.answers["slow"].callback(None)
    assert line.transport.producerState == "producing"


def test_a_client_that_does_not_read_is_not_read_either(line):
    line.conversation.pauseProducing()
    line.say(b"a\n" * MAX_UNREAD_OCTETS)
    assert line.heard() == b""
    assert line.session.asked == []
    assert line.transport.producerState == "paused"
    line.conversation.resumeProducing()
    line.go_on()
    assert line.heard().count(b"a\n") == MAX_UNREAD_OCTETS
    assert line.transport.producerState == "producing"


def test_a_long_pipeline_gives_everybody_else_a_turn(line):
    line.say(b"a\n" * (MAX_ROUND_REPLIES + 2))
    assert line.heard() == b"a\n" * MAX_ROUND_REPLIES
    line.say(b"b\n")
    assert line.heard() == b""
    line.clock.advance(0)
    assert line.heard() == b"a\na\nb\n"
    line.say(b"c\n")
    assert line.heard() == b"c\n"


def test_long_replies_to_a_pipeline_do_not_pile_up(line):
    """POP3: a segment full of LIST, over a large maildrop."""
    reply = b"x" * MAX_ROUND_OCTETS + b"\n"
    line.say(reply * 3)
    assert line.heard() == reply
    line.conversation.pauseProducing()
    line.clock.advance(0)
    assert line.heard() == b""
    line.conversation.resumeProducing()
    assert line.heard() == reply
    line.go_on()
    assert line.heard() == reply


def test_the_rest_of_a_long_pipeline_is_not_answered_when_the_connection_is_gone(line):
    line.say(b"a\n" * 2 * MAX_ROUND_REPLIES)
    line.conversation.connectionLost(Failure(ConnectionDone()))
    line.go_on()
    assert len(line.session.asked) == MAX_ROUND_REPLIES
    assert not line.clock.twisted.getDelayedCalls()


def test_a_long_pipeline_is_answered_whole_when_the_client_has_closed_its_half(line):
    line.say(b"a\n" * 2 * MAX_ROUND_REPLIES)
    line.conversation.readConnectionLost()
    assert not line.transport.disconnecting
    line.go_on()
    assert line.heard() == b"a\n" * 2 * MAX_ROUND_REPLIES
    assert line.transport.disconnecting


def test_a_client_that_never_reads_is_dropped(line):
    line.conversation.pauseProducing()
    line.clock.advance(31)
    assert line.transport.aborted


def test_a_flood_whose_answers_nobody_reads_is_not_answered_to_its_end(line):
    """All answers in one write would be megabytes before the transport could say that it has enough."""
    write = line.transport.write

    def filled_up(octets):
        write(octets)
        line.conversation.pauseProducing()

    line.transport.write = filled_up
    line.say(b"a\n" * 10_000)
    assert len(line.session.asked) < 200


def test_a_client_that_closes_its_half_hears_the_answer_that_is_worked_out(line):
    """RFC 9293 3.6: it sends nothing more and still listens; without the 250 it would send its message again."""
    line.say(b"a\nslow\nb\n")
    line.conversation.readConnectionLost()
    assert line.heard() == b"a\n"
    assert not line.transport.disconnecting
    line.session.answers["slow"].callback(None)
    assert line.heard() == b"slow\nb\n"
    assert line.transport.disconnecting


def test_a_client_that_closes_with_nothing_under_way_is_gone_at_once(line):
    line.say(b"half a comm")
    line.conversation.readConnectionLost()
    assert line.transport.disconnecting
    line.conversation.connectionLost(Failure(ConnectionDone()))
    assert [event.reason for event in line.log] == ["closed by the client"]


def test_a_client_that_closes_its_half_behind_quit_hears_goodbye_and_makes_no_line(line):
    line.say(b"slow\nquit\n")
    line.conversation.readConnectionLost()
    line.session.answers["slow"].callback(None)
    assert line.heard() == b"slow\nbye\n"
    line.conversation.connectionLost(Failure(ConnectionDone()))
    assert line.log == []


def test_a_client_that_closed_its_half_is_never_read_again(line):
    """The transport would report the end of its input again and again."""
    line.say(b"slow\n")
    line.say(b"x" * (MAX_UNREAD_OCTETS + 1))
    line.conversation.readConnectionLost()
    line.session.answers["slow"].callback(None)
    assert line.transport.producerState == "paused"


def test_a_client_that_closed_its_half_and_does_not_read_is_dropped(line):
    line.conversation.pauseProducing()
    line.say(b"a\n")
    line.conversation.readConnectionLost()
    assert not line.transport.disconnecting
    line.clock.advance(31)
    assert line.transport.aborted


def test_a_drip_of_octets_does_not_draw_out_the_command_deadline(line):
    for _ in range(29):
        line.clock.advance(1)
        line.say(b"x")
    assert line.heard() == b""
    line.clock.advance(2)
    assert line.heard() == b"end: COMMAND\n"
    assert line.transport.disconnecting


def test_each_answered_command_starts_a_new_deadline(line):
    for _ in range(10):
        line.clock.advance(29)
        line.say(b"a\n")
        assert line.heard() == b"a\n"
    line.clock.advance(31)
    assert line.heard() == b"end: COMMAND\n"


def test_the_time_we_need_ourselves_is_not_the_clients(line):
    line.say(b"slow\n")
    line.clock.advance(500)
    assert line.heard() == b""
    line.session.answers["slow"].callback(None)
    assert line.heard() == b"slow\n"
    line.clock.advance(29)
    assert line.heard() == b""
    line.clock.advance(2)
    assert line.heard() == b"end: COMMAND\n"


def begin_content(line):
    line.say(b"a\n")
    line.machine.in_content = True
    line.say(b"b\n")
    line.conversation._note_phase()
    line.heard()


def test_silence_within_content_ends_it(line):
    begin_content(line)
    line.clock.advance(29)
    line.say(b"x" * 1000)
    line.clock.advance(29)
    assert line.heard() == b""
    line.clock.advance(2)
    assert line.heard() == b"end: SILENCE\n"


def test_content_that_comes_too_slowly_is_given_up_after_a_minute(line):
    begin_content(line)
    for _ in range(12):
        line.clock.advance(10)
        line.say(b"x" * 20)
    assert line.heard() == b"end: RATE\n"


def test_a_fast_beginning_does_not_pay_for_a_slow_rest(line):
    begin_content(line)
    line.say(b"x" * 900_000)
    for _ in range(13):
        line.clock.advance(10)
        line.say(b"x" * 20)
    assert line.heard() == b"end: RATE\n"


def test_content_that_comes_fast_enough_may_take_its_time_but_not_for_ever(line):
    begin_content(line)
    for _ in range(99):
        line.clock.advance(10)
        line.say(b"x" * 200)
    assert line.heard() == b""
    line.clock.advance(15)
    assert line.heard() == b"end: CONTENT\n"


def test_the_time_that_the_disk_takes_within_content_is_not_the_clients(line):
    """A sender must not hear that it is too slow because our disk was."""
    begin_content(line)
    line.say(b"x" * 700)
    for _ in range(10):
        written = Deferred()
        line.conversation._wait_for(written)
        line.clock.advance(500)
        written.callback(None)
        line.clock.advance(20)
        line.say(b"x" * 400)
    assert line.heard() == b""
    assert not line.transport.disconnecting


def test_a_client_that_does_not_take_the_last_reply_is_dropped(line):
    line.say(b"quit\n")
    assert line.heard() == b"bye\n"
    assert line.transport.disconnecting and not line.transport.aborted
    line.clock.advance(CLOSE_GRACE_S + 1)
    assert line.transport.aborted


def test_a_slow_client_is_not_dropped_while_replies_are_still_on_their_way(line):
    """POP3 with RETR, DELE and QUIT in one segment: the message is deleted, so its end must arrive."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        line.transport.fileno = ours.fileno
        ours.sendall(b"what the kernel holds")
        line.say(b"quit\n")
        line.clock.advance(CLOSE_GRACE_S + 1)
        assert not line.transport.aborted
        theirs.recv(100)
        line.clock.advance(CLOSE_GRACE_S)
        assert line.transport.aborted


def test_a_client_that_takes_nothing_to_the_end_is_dropped_in_the_end(line):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        line.transport.fileno = ours.fileno
        ours.sendall(b"what the kernel holds")
        line.say(b"quit\n")
        for _ in range(4):
            line.clock.advance(CLOSE_GRACE_S)
        assert line.transport.aborted


def test_what_comes_behind_the_end_is_not_understood(line):
    line.say(b"quit\na\nb\n")
    line.say(b"c\n")
    assert line.heard() == b"bye\n"
    assert line.session.asked == ["quit"]


def test_our_mistake_ends_the_conversation_and_is_told(line):
    line.say(b"boom\na\n")
    assert line.heard() == b"broken\n"
    assert line.transport.disconnecting


def test_a_late_mistake_ends_it_too(line):
    line.say(b"slow\n")
    line.session.answers["slow"].errback(ValueError("late"))
    assert line.heard() == b"broken\n"
    assert line.transport.disconnecting


def test_the_session_and_the_listener_hear_of_the_end(line):
    line.conversation.connectionLost(Failure(ConnectionDone()))
    assert line.session.lost_because == "closed by the client"
    assert line.left == [line.conversation]
    assert [event.line() for event in line.log] == [
        'disconnected [192.0.2.1:4711] service=toy reason="closed by the client"'
    ]
    assert not line.clock.twisted.getDelayedCalls()


def test_an_end_by_quit_is_not_worth_a_line(line):
    line.say(b"quit\n")
    line.conversation.connectionLost(Failure(ConnectionDone()))
    assert line.log == []


def test_an_end_that_was_our_wish_is_told_with_its_reason(line):
    line.say(b"enough\n")
    line.conversation.connectionLost(Failure(ConnectionDone()))
    assert [event.reason for event in line.log] == ["421 Too many errors, closing"]


def test_an_answer_that_comes_after_the_end_goes_nowhere(line):
    line.say(b"slow\n")
    line.conversation.connectionLost(Failure(ConnectionDone()))
    line.session.answers["slow"].callback(None)
    assert line.heard() == b""


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (SSL.Error([("SSL routines", "", "wrong version number")]), "TLS failed: wrong version number"),
        (SSL.SysCallError(-1, "Unexpected EOF"), "TLS failed: Unexpected EOF"),
        (SSL.Error(), "TLS failed: the connection broke"),
        (ConnectionLost(), "connection lost"),
        (ValueError("odd"), "ValueError: odd"),
    ],
)
def test_the_log_says_in_words_why_a_connection_ended(line, error, text):
    line.conversation.connectionLost(Failure(error))
    assert [event.reason for event in line.log] == [text]


def test_the_server_stops_an_idle_conversation_at_once(line):
    line.conversation.shut_down()
    assert line.heard() == b"end: stop\n"
    assert line.transport.disconnecting


def test_the_server_finishes_an_answer_before_it_stops_the_conversation(line):
    line.say(b"slow\na\n")
    line.conversation.shut_down()
    assert line.heard() == b""
    line.session.answers["slow"].callback(None)
    assert line.heard() == b"slow\nend: stop\n"
    assert line.transport.disconnecting


def test_the_server_stops_a_conversation_that_waits_for_the_disk_when_the_disk_is_done(line):
    written = Deferred()
    line.conversation._wait_for(written)
    line.conversation.shut_down()
    assert line.heard() == b""
    written.callback(None)
    assert line.heard() == b"end: stop\n"
    assert line.transport.disconnecting


def test_an_idle_conversation_can_be_evicted(line):
    assert line.conversation.is_idle
    line.conversation.evict(b"421 too many\r\n", "its place was needed")
    assert line.heard() == b"421 too many\r\n"
    line.conversation.connectionLost(Failure(ConnectionDone()))
    assert line.session.lost_because == "its place was needed"


def test_a_conversation_at_work_is_not_idle(line):
    line.say(b"slow\n")
    assert not line.conversation.is_idle


def test_content_that_does_not_come_on_is_idle_after_a_while(line):
    line.machine.in_content = True
    line.say(b"some of it")
    line.clock.advance(STALLED_S)
    assert not line.conversation.is_idle
    line.clock.advance(0.1)
    assert line.conversation.is_idle
    line.say(b"more of it")
    assert not line.conversation.is_idle


def test_who_is_kept_waiting_on_purpose_may_be_evicted_and_hears_nothing_behind_that(line):
    line.say(b"slow\n")
    line.session.is_waiting = True
    assert line.conversation.is_idle
    line.conversation.evict(b"421 too many\r\n", "its place was needed")
    line.session.answers["slow"].callback(None)
    assert line.heard() == b"421 too many\r\n"


def test_a_mistake_of_ours_after_an_eviction_says_nothing_more(line):
    line.say(b"slow\n")
    line.session.is_waiting = True
    line.conversation.evict(b"421 too many\r\n", "its place was needed")
    line.session.answers["slow"].errback(ValueError("nobody named this"))
    assert line.heard() == b"421 too many\r\n"


def test_tls_starts_with_the_answer_out_and_the_machine_cleared():
    line = connect(tls="context")
    line.say(b"tls\n")
    assert line.heard() == b"go ahead\n"
    assert line.transport.started_tls == "context"
    assert line.machine.tls == 1


def test_octets_behind_the_command_end_the_session_before_any_handshake():
    line = connect(tls="context")
    line.say(b"tls\na\n")
    assert line.transport.started_tls is None
    assert line.transport.disconnecting
    assert line.session.asked == ["tls"]


def test_a_handshake_has_a_deadline():
    line = connect(tls="context", implicit=True)
    assert line.heard() == b""
    line.clock.advance(31)
    assert line.transport.aborted
    line.conversation.connectionLost(Failure(ConnectionDone()))
    assert line.session.lost_because == TimedOut.HANDSHAKE.value


def test_a_handshake_has_a_minute_however_long_commands_may_take():
    line = connect(Timeouts(command_s=3600.0, content_s=3600.0), tls="context", implicit=True)
    line.clock.advance(59)
    assert not line.transport.aborted
    line.clock.advance(1)
    assert line.transport.aborted


def test_implicit_tls_greets_after_the_handshake():
    line = connect(tls="context", implicit=True)

    class Handle:
        def get_protocol_version_name(self):
            return "TLSv1.3"

        def get_cipher_name(self):
            return "AES"

    line.transport.getHandle = Handle
    line.conversation.handshakeCompleted()
    assert line.heard() == b"hello\n"
    assert line.session.details.version == "TLSv1.3"
