"""The POP3 server machine in conversations of any order, cut anywhere, against a model that knows only the order."""

from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from mailserver.mail import pop3_reply as replies
from mailserver.wire import pop3_events as pop3
from mailserver.wire.pop3_server import MAX_COMMAND_OCTETS, Pop3Server, State
from mailserver.wire.sasl import Challenge
from tests.fuzz.cutting import cut
from tests.fuzz.models import Pop3Model

BEFORE = {
    "user": b"USER alice\r\n",
    "pass": b"PASS two  words \r\n",
    "auth": b"AUTH PLAIN AGEAYg==\r\n",
    "mechanisms": b"auth\r\n",
    "utf8": b"UTF8\r\n",
}
DURING = {
    "stat": b"STAT\n",
    "list": b"LIST\r\n",
    "list one": b"LIST 1\r\n",
    "uidl": b"uidl 2\r\n",
    "retr": b"RETR 1\r\n",
    "top": b"TOP 1 0\r\n",
    "dele": b"DELE 3\r\n",
    "rset": b"RSET\r\n",
    "noop": b"NOOP\r\n",
}
ALWAYS = {"capa": b"CAPA\r\n", "lang": b"LANG *\r\n"}
NEVER = {
    "unknown": b"XTND\r\n",
    "empty": b"\r\n",
    "too long": b"CAPA " + b"x" * MAX_COMMAND_OCTETS + b"\r\n",
    "bare CR": b"CAPA\rCAPA\r\n",
    "NUL": b"CAPA \0\r\n",
    "number": b"RETR 0\r\n",
    "full width": "RETR \uff11\r\n".encode(),
}
LINES = BEFORE | DURING | ALWAYS | NEVER
LOGINS = ("pass", "auth")

sizes = st.lists(st.integers(0, 9), min_size=1, max_size=3)


class Conversation(RuleBasedStateMachine):
    """A client that says what it likes."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = Pop3Server()
        self.machine.greet(replies.greeting("x"))
        self.model = Pop3Model()

    def is_reading_commands(self) -> bool:
        return not (self.model.has_ended or self.model.is_in_exchange)

    def is_understood(self, name: str) -> bool:
        return name in ALWAYS or name in (DURING if self.model.is_open else BEFORE)

    @precondition(is_reading_commands)
    @rule(names=st.lists(st.sampled_from(sorted(LINES)), max_size=6), where=sizes, may_log_in=st.booleans())
    def pipelined_commands(self, names, where, may_log_in):
        expected = deque(names)
        for piece in cut(b"".join(LINES[name] for name in names), where):
            self.machine.receive(piece)
            while (event := self.machine.next_event()) is not None:
                self.model.told(event)
                assert expected, f"{event} is the answer to nothing"
                name = expected.popleft()
                assert isinstance(event, pop3.Faulted) is not self.is_understood(name), (name, event)
                assert self.machine.next_event() is None, "an event before the answer to the one before"
                self.answer(event, replies.logged_in(3, 9) if name in LOGINS and may_log_in else None)
        assert not expected, "something was not answered"

    def answer(self, event, good=None) -> None:
        answer = event.reply if isinstance(event, pop3.Faulted) else good or replies.ok("x")
        assert self.machine.reply(answer).endswith(b"\r\n")
        self.model.answered(event, answer)

    @precondition(lambda self: self.is_reading_commands() and not self.model.is_open)
    @rule(where=sizes, responses=st.lists(st.sampled_from([b"YQ==", b"*", b"!", b"CAPA"]), max_size=3))
    def a_login_in_steps(self, where, responses):
        """What comes as a response is never a command; the first that is not one ends the exchange."""
        for piece in (b"AUTH LOGIN\r\n", *(one + b"\r\n" for one in responses)):
            self.machine.receive(piece)
            event = self.machine.next_event()
            self.model.told(event)
            is_challenge = isinstance(event, pop3.Auth) and isinstance(event.step, Challenge)
            self.answer(event, replies.challenge("x") if is_challenge else replies.err("no"))
            if not self.model.is_in_exchange:
                break

    @precondition(lambda self: self.model.is_in_exchange)
    @rule()
    def the_exchange_is_cancelled(self):
        self.machine.receive(b"*\r\n")
        event = self.machine.next_event()
        assert event == pop3.Faulted("AUTH", replies.AUTH_CANCELLED)
        self.answer(event)

    @precondition(lambda self: self.is_reading_commands() and not self.model.is_open)
    @rule(behind=st.sampled_from([b""] * 6 + [b"CAPA\r\n", b"\n"]), is_offered=st.booleans())
    def stls(self, behind, is_offered):
        self.machine.receive(b"STLS\r\n" + behind)
        event = self.machine.next_event()
        if behind:
            assert event == pop3.InjectedOctets()
            self.answer(event, replies.err("no"))
        else:
            assert event == pop3.StartTls()
            self.answer(event, replies.ok("go") if is_offered else replies.err("no"))
            if is_offered:
                assert self.machine.state is State.SILENT
                self.machine.tls_started()

    @precondition(is_reading_commands)
    @rule(behind=st.sampled_from([b"", b"CAPA\r\n"]), is_meant=st.integers(0, 9))
    def quit(self, behind, is_meant):
        if is_meant:
            return
        self.machine.receive(b"QUIT\r\n" + behind)
        event = self.machine.next_event()
        assert event == pop3.Quit()
        self.answer(event)

    @precondition(lambda self: self.model.has_ended)
    @rule()
    def nothing_after_the_end(self):
        self.machine.receive(b"CAPA\r\n")
        assert self.machine.next_event() is None

    @invariant()
    def nothing_waits(self):
        assert self.machine.buffered_octets == 0

    @invariant()
    def the_state_is_the_models(self):
        state = State.TRANSACTION if self.model.is_open else State.AUTHORIZATION
        assert self.machine.state is (State.UPDATE if self.model.has_ended else state)


def test_any_conversation_follows_the_model():
    run_state_machine_as_test(Conversation, settings=settings(max_examples=80, stateful_step_count=20, deadline=None))
