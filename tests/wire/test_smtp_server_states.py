"""The SMTP server machine in conversations of any order, cut anywhere, against a model that knows only the order.

One reply for each command, in order, with the code the model foretells; nothing outlives RSET, EHLO and STARTTLS; and
no more octets wait than a line has.
"""

from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from mailserver.mail.reply import reply
from mailserver.wire import smtp_events as smtp
from mailserver.wire.sasl import Challenge
from mailserver.wire.smtp_server import MAX_COMMAND_OCTETS, SmtpServer, State
from tests.fuzz.cutting import cut
from tests.fuzz.models import SmtpModel

LINES = {
    "ehlo": b"EHLO client.example\r\n",
    "helo": b"helo x\r\n",
    "mail": b"MAIL FROM:<a@b.example>\r\n",
    "rcpt": b"RCPT TO:<c@d.example>\r\n",
    "rset": b"RSET\r\n",
    "noop": b"NOOP really\r\n",
    "vrfy": b"VRFY a\r\n",
    "help": b"HELP\r\n",
    "auth": b"AUTH PLAIN AGEAYg==\r\n",
    "unknown": b"XCLIENT ADDR=192.0.2.1\r\n",
    "argument": b"RSET now\r\n",
    "too long": b"NOOP " + b"x" * MAX_COMMAND_OCTETS + b"\r\n",
    "bare LF": b"NOOP\nMAIL FROM:<x@y.example>\r\n",
    "NUL": b"NOOP \0\r\n",
    "not text": b"NOOP \xff\r\n",
    "chunk": b"BDAT 4\r\nab\r\n",
    "last chunk": b"BDAT 3 LAST\r\nc\r\n",
}
# Only as the last of what is sent at once: what follows them is something else than a command.
LAST_LINES = {"data": b"DATA\r\n", "auth login": b"AUTH LOGIN\r\n", "starttls": b"STARTTLS\r\n"}
# Much that is refused in a row tells little.
GROUPS = [
    ["mail", "rcpt"],
    ["rset", "mail", "rcpt", "rcpt"],
    ["mail", "rcpt", "chunk"],
    ["rset", "auth"],
    ["mail", "ehlo", "mail"],
]
FAULTS = {"unknown": 500, "argument": 501, "too long": 500, "bare LF": 500, "NUL": 500, "not text": 500}

sizes = st.lists(st.integers(0, 9), min_size=1, max_size=3)
refusals = st.integers(0, 255) | st.just(0)


def foretold(model: SmtpModel, name: str, *, is_refused: bool) -> int:
    """The code by RFC 5321 4.1.4, RFC 3030, RFC 3207 and RFC 4954; the session's where it has a say."""
    if name in FAULTS:
        return FAULTS[name]
    wrong_place = {
        "mail": model.is_mail_open,
        "rcpt": not model.is_mail_open or model.has_chunks,
        "data": not model.recipients or model.has_chunks,
        "chunk": not model.recipients,
        "last chunk": not model.recipients,
        "auth": model.is_mail_open or model.is_authenticated,
        "auth login": model.is_mail_open or model.is_authenticated,
        "starttls": model.is_mail_open or model.is_tls,
    }
    if wrong_place.get(name):
        return 503
    if is_refused:
        return 454
    return {"data": 354, "auth": 235, "auth login": 334, "starttls": 220}.get(name, 250)


class Conversation(RuleBasedStateMachine):
    """A client that says what it likes."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = SmtpServer(max_content_octets=1000)
        self.machine.greet(reply(220, "", "x ESMTP"))
        self.model = SmtpModel()
        self.has_refused_recipient = False
        self.content = b""
        self.message: bytes | None = None

    def send(self, octets: bytes, where, names, refused: int = 0) -> None:
        """Send, and see that each name gets its reply."""
        expected = deque(names)
        for piece in cut(octets, where):
            self.machine.receive(piece)
            while (event := self.machine.next_event()) is not None:
                self.model.told(event)
                if isinstance(event, smtp.Content):
                    self.content += event.octets
                    continue
                assert self.machine.next_event() is None
                assert expected, f"{event} is the answer to nothing"
                self.answer(event, expected.popleft(), bool(refused >> len(expected) % 8 & 1))
        assert not expected, "something was not answered"

    def answer(self, event, name: str, is_refused: bool) -> None:
        code = foretold(self.model, name, is_refused=is_refused)
        if isinstance(event, smtp.Faulted):
            wants = {code}
            needs_recipient = name in ("data", "chunk", "last chunk") and not self.model.recipients
            if code == 503 and needs_recipient and self.has_refused_recipient:
                wants = {554}  # RFC 5321 3.3: there was a RCPT, and it was refused
            assert event.reply.code in wants, (name, event)
            answer = event.reply
        else:
            answer = reply(code, "", "x")
            assert code not in (500, 501, 503), (name, event)
        assert self.machine.reply(answer).startswith(b"%d" % answer.code)
        if isinstance(event, smtp.EndOfContent) and not event.is_chunked:
            assert not event.faults
            self.message = self.content
        if isinstance(event, smtp.Rcpt) and answer.code != 250:
            self.has_refused_recipient = True
        self.model.answered(event, answer.code)
        if not self.model.is_mail_open:
            self.has_refused_recipient = False
        if not self.model.recipients:
            self.content = b""

    def is_reading_commands(self) -> bool:
        model = self.model
        return not (model.is_in_data or model.is_in_exchange or model.has_ended)

    @precondition(is_reading_commands)
    @rule(
        names=st.lists(st.sampled_from(sorted(LINES)), max_size=4) | st.sampled_from(GROUPS),
        where=sizes,
        refused=refusals,
    )
    def pipelined_commands(self, names, where, refused):
        self.send(b"".join(LINES[name] for name in names), where, names, refused)

    @precondition(is_reading_commands)
    @rule(before=st.sampled_from(["", "mail", "rcpt", "rset"]), name=st.sampled_from(sorted(LAST_LINES)), where=sizes)
    def commands_that_end_a_group(self, before, name, where):
        names = [before, name] if before else [name]
        self.send(b"".join((LINES | LAST_LINES)[one] for one in names), where, names)
        if self.machine.state is State.SILENT and not self.model.has_ended:
            self.machine.tls_started()
            assert self.machine.state is State.READY
            assert not self.machine.has_buffered_octets
            # RFC 3207 4.2: whoever logged in in clear has not.
            self.send(b"".join(LINES[one] for one in ("rcpt", "auth")), where, ["rcpt", "auth"])

    @precondition(is_reading_commands)
    @rule(behind=st.sampled_from([b"", b"\r\n", b"x", b"MAIL FROM:<a@b.example>\r\n"]), is_meant=st.integers(0, 9))
    def the_end(self, behind, is_meant):
        """QUIT, or octets behind STARTTLS, of which nothing is ever a command (CVE-2011-0411)."""
        if is_meant:
            return
        may_start = not (self.model.is_mail_open or self.model.is_tls)
        verb, ending, code = (b"STARTTLS", smtp.InjectedOctets(), 421) if behind else (b"QUIT", smtp.Quit(), 221)
        if not behind or may_start:
            self.machine.receive(verb + b"\r\n" + behind)
            event = self.machine.next_event()
            assert event == ending
            self.machine.reply(reply(code, "", "x"))
            self.model.answered(event, code)

    @precondition(lambda self: self.model.is_in_data)
    @rule(
        lines=st.lists(st.sampled_from([b"a", b"", b".", b"..", b"QUIT", b"RSET", b"\xff" * 40]), max_size=6),
        where=sizes,
        behind=st.lists(st.sampled_from(sorted(LINES)), max_size=2),
    )
    def content(self, lines, where, behind):
        """Only CRLF.CRLF ends it, and nothing in it is a command."""
        stuffed = b"".join((b"." + line if line.startswith(b".") else line) + b"\r\n" for line in lines)
        self.message = None
        self.send(stuffed + b".\r\n" + b"".join(LINES[name] for name in behind), where, ["end", *behind])
        assert self.message == b"".join(line + b"\r\n" for line in lines)

    @precondition(lambda self: self.model.is_in_exchange)
    @rule(response=st.sampled_from([b"YQ==", b"*", b"!", b"", b"QUIT"]), is_right=st.booleans())
    def response(self, response, is_right):
        self.machine.receive(response + b"\r\n")
        event = self.machine.next_event()
        self.model.told(event)
        if isinstance(event, smtp.Faulted):
            answer = event.reply
        elif isinstance(event.step, Challenge):
            answer = reply(334, "", "")
        else:
            answer = reply(235 if is_right else 535, "", "x")
        self.machine.reply(answer)
        self.model.answered(event, answer.code)

    @precondition(lambda self: self.model.has_ended)
    @rule()
    def nothing_after_the_end(self):
        assert self.machine.next_event() is None

    @invariant()
    def nothing_waits(self):
        assert self.machine.buffered_octets == 0

    @invariant()
    def the_state_is_the_models(self):
        model = self.model
        if model.has_ended:
            expected = State.SILENT
        elif model.is_in_exchange:
            expected = State.AUTH_RESPONSE
        elif model.is_in_data:
            expected = State.CONTENT
        elif model.has_chunks:
            expected = State.CHUNKS
        elif model.recipients:
            expected = State.RCPT
        else:
            expected = State.MAIL if model.is_mail_open else State.READY
        assert self.machine.state is expected


def test_any_conversation_follows_the_model():
    run_state_machine_as_test(Conversation, settings=settings(max_examples=80, stateful_step_count=25, deadline=None))
