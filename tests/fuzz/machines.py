"""Targets: the machines that read what strangers send.

Each takes an input, lets the machine read it whole and in pieces, and raises AssertionError when

- what it told or said depends on how the input was cut,
- an event came that cannot come then, or was answered twice or not at all,
- more octets wait in the machine than the longest line it takes.

Everything else that is raised is a finding too. The first octets of an input steer: how it is cut, and what the other
side decides.
"""

from mailserver.mail import pop3_reply
from mailserver.mail import reply as smtp_reply
from mailserver.mail.pop3_reply import Pop3Reply
from mailserver.mail.reply import Reply, reply
from mailserver.wire import pop3_events as pop3
from mailserver.wire import smtp_events as smtp
from mailserver.wire.pop3_server import Pop3Server
from mailserver.wire.pop3_server import State as Pop3State
from mailserver.wire.proxy_header import ProxyHeader, parse_proxy_header
from mailserver.wire.sasl import MAX_SASL_LINE_OCTETS, Challenge, SaslFault
from mailserver.wire.smtp_replies import MAX_LINE_OCTETS, MAX_REPLY_OCTETS, ReplyFault, ReplyParser
from mailserver.wire.smtp_server import SmtpServer
from tests.fuzz.cutting import Dice, cut
from tests.fuzz.models import Pop3Model, SmtpModel

# A line's end, and what may be the beginning of one.
MOST_WAITING = MAX_SASL_LINE_OCTETS + 2
# Of every reply and response line; and no answer here has more than a handful of them.
MOST_SAID_FOR_ONE = 2_048

_BANNER = reply(220, "", "mail.example.test ESMTP")
_OK = reply(250, "2.0.0", "ok")
_CHALLENGE = reply(334, "", "")
_REFUSED = reply(550, "5.7.1", "no")
_LATER = reply(451, "4.3.0", "later")


# --- the SMTP server --------------------------------------------------------------------------------------------------


def answer_to(event: smtp.SmtpEvent, dice: Dice) -> Reply:
    """What a session says; the dice decide what is its to decide."""
    match event:
        case smtp.Faulted():
            return event.reply
        case smtp.InjectedOctets():
            return smtp_reply.STARTTLS_INJECTION
        case smtp.Quit():
            return smtp_reply.GOODBYE
        case smtp.Reset() | smtp.Noop():
            return _OK
        case smtp.Auth(_, SaslFault()):
            return smtp_reply.sasl_wrong("no")
    if dice.is_against():
        return _LATER if isinstance(event, smtp.Data | smtp.EndOfContent) else _REFUSED
    match event:
        case smtp.Data():
            return smtp_reply.SEND_CONTENT
        case smtp.Auth(_, Challenge()):
            return _CHALLENGE
        case smtp.Auth():
            return smtp_reply.AUTH_OK
        case smtp.StartTls():
            return smtp_reply.STARTTLS_GO
    return _OK


class SmtpRun:
    """One conversation: `log` holds the events but for content, and each faultless message behind its end."""

    def __init__(self, pattern: int, flags: int) -> None:
        self.max_octets = 64 if flags & 1 else 100_000
        self.machine = SmtpServer(max_content_octets=self.max_octets, is_tls=bool(flags & 2))
        self.machine.offers_auth = bool(flags & 4)
        self.machine.repairs_bare_newlines = bool(flags & 8)
        self.machine.greet(_BANNER)
        self.model = SmtpModel(is_tls=bool(flags & 2))
        self.log: list[object] = []
        self.said = b""
        self.before_tls: int | None = None  # how much of the log is the same at every cut
        self._dice = Dice(pattern)
        self._content: list[bytes] = []

    def feed(self, octets: bytes) -> None:
        self.machine.receive(octets)
        while (event := self.machine.next_event()) is not None:
            self.model.told(event)
            if isinstance(event, smtp.Content):
                self._content.append(event.octets)
                continue
            assert self.machine.next_event() is None, "an event before the answer to the one before"
            self._note(event)
            answer = answer_to(event, self._dice)
            octets_said = self.machine.reply(answer)
            assert octets_said.endswith(b"\r\n")
            assert len(octets_said) <= MOST_SAID_FOR_ONE
            self.said += octets_said
            self.model.answered(event, answer.code)
            if isinstance(event, smtp.EndOfChunk | smtp.Hello | smtp.Reset) and not self.model.has_chunks:
                self._content.clear()  # the message was given up
            if isinstance(event, smtp.StartTls) and answer.code == 220:
                self.machine.tls_started()
                assert not self.machine.has_buffered_octets
        assert self.machine.buffered_octets <= MOST_WAITING, "more waits than a line can have"

    def _note(self, event: smtp.SmtpEvent) -> None:
        if self.before_tls is None and isinstance(event, smtp.StartTls | smtp.InjectedOctets):
            self.before_tls = len(self.log)
        self.log.append(event)
        if isinstance(event, smtp.EndOfContent):
            content, self._content = b"".join(self._content), []
            assert len(content) <= self.max_octets, "more content than may be"
            if not event.faults:
                assert len(content) == event.size_octets
                assert content.count(b"\r\n") == content.count(b"\r") == content.count(b"\n")
                self.log.append(content)


def smtp_server(octets: bytes) -> None:
    """Two octets of sizes, one of decisions, one of flags; then what a client sends."""
    steering, sent = octets[:4].ljust(4, b"\0"), octets[4:]
    whole, pieces = SmtpRun(*steering[2:]), SmtpRun(*steering[2:])
    whole.feed(sent)
    for piece in cut(sent, steering[:2]):
        if pieces.model.has_ended:
            break
        pieces.feed(piece)
    assert len(whole.log) <= 2 * sent.count(b"\n") + 1, "more was told than there were lines"
    if whole.before_tls is None and pieces.before_tls is None:
        assert whole.log == pieces.log
        assert whole.said == pieces.said
        assert whole.machine.state is pieces.machine.state
        assert whole.machine.buffered_octets == pieces.machine.buffered_octets
    else:
        # What came behind STARTTLS is an attack in the one and in clear no more in the other.
        assert whole.before_tls == pieces.before_tls
        assert whole.log[: whole.before_tls] == pieces.log[: pieces.before_tls]


# --- the POP3 server --------------------------------------------------------------------------------------------------

_OK_POP3 = pop3_reply.ok("ok")
_ERR_POP3 = pop3_reply.err("no")
_LOGGED_IN = pop3_reply.logged_in(1, 1)


def response_to(event: pop3.Pop3Event, dice: Dice) -> Pop3Reply:
    """What a session says; the dice decide what is its to decide."""
    match event:
        case pop3.Faulted():
            return event.reply
        case pop3.Quit():
            return _OK_POP3
        case pop3.InjectedOctets() | pop3.Auth(_, SaslFault()):
            return _ERR_POP3
    if dice.is_against():
        return _ERR_POP3
    match event:
        case pop3.Auth(_, Challenge()):
            return pop3_reply.challenge("")
        case pop3.Auth() | pop3.Password():
            return _LOGGED_IN
    return _OK_POP3


class Pop3Run:
    """One conversation; `log` holds the events."""

    def __init__(self, pattern: int) -> None:
        self.machine = Pop3Server()
        self.machine.greet(pop3_reply.greeting("mail.example.test"))
        self.model = Pop3Model()
        self.log: list[pop3.Pop3Event] = []
        self.said = b""
        self.before_tls: int | None = None
        self._dice = Dice(pattern)

    def feed(self, octets: bytes) -> None:
        self.machine.receive(octets)
        while (event := self.machine.next_event()) is not None:
            self.model.told(event)
            if self.before_tls is None and isinstance(event, pop3.StartTls | pop3.InjectedOctets):
                self.before_tls = len(self.log)
            self.log.append(event)
            answer = response_to(event, self._dice)
            octets_said = self.machine.reply(answer)
            assert octets_said.endswith(b"\r\n")
            assert len(octets_said) <= MOST_SAID_FOR_ONE
            self.said += octets_said
            self.model.answered(event, answer)
            is_open = self.machine.state is Pop3State.TRANSACTION
            assert is_open is self.model.is_open or self.model.has_ended
            if isinstance(event, pop3.StartTls) and answer.is_positive:
                self.machine.tls_started()
                assert not self.machine.has_buffered_octets
        assert self.machine.buffered_octets <= MOST_WAITING, "more waits than a line can have"


def pop3_server(octets: bytes) -> None:
    """Two octets of sizes, one of decisions; then what a client sends."""
    steering, sent = octets[:3].ljust(3, b"\0"), octets[3:]
    whole, pieces = Pop3Run(steering[2]), Pop3Run(steering[2])
    whole.feed(sent)
    for piece in cut(sent, steering[:2]):
        pieces.feed(piece)
    assert len(whole.log) <= sent.count(b"\n") + 1, "more was told than there were lines"
    if whole.before_tls is None and pieces.before_tls is None:
        assert whole.log == pieces.log
        assert whole.said == pieces.said
        assert whole.machine.buffered_octets == pieces.machine.buffered_octets
    else:
        assert whole.before_tls == pieces.before_tls
        assert whole.log[: whole.before_tls] == pieces.log[: pieces.before_tls]


# --- replies, and the PROXY header ------------------------------------------------------------------------------------


def _replies(octets: bytes, sizes: bytes) -> list[Reply | ReplyFault]:
    parser = ReplyParser()
    found: list[Reply | ReplyFault] = []
    for piece in cut(octets, sizes):
        parser.receive(piece)
        while (one := parser.next_reply()) is not None:
            found.append(one)
        held = len(parser._line) + sum(map(len, parser._lines))
        assert held <= MAX_REPLY_OCTETS, "more is kept than the longest reply has"
        assert len(parser._line) <= MAX_LINE_OCTETS
    return found


def smtp_replies(octets: bytes) -> None:
    """Two octets of sizes; then what a server says."""
    said = octets[2:]
    whole, pieces = _replies(said, b"\0"), _replies(said, octets[:2].ljust(2, b"\1"))
    assert whole == pieces
    assert not any(isinstance(one, ReplyFault) for one in whole[:-1]), "something behind a fault"
    for one in whole:
        if isinstance(one, Reply):
            assert 200 <= one.code <= 599
            assert not one.enhanced or one.enhanced[0] == str(one.code)[0]
        assert sum(map(len, one.lines)) <= len(said)
        assert all("\n" not in line for line in one.lines)


def proxy_header(octets: bytes) -> None:
    """The beginning of a connection behind a proxy: the answer comes at one octet, and stays."""
    whole = parse_proxy_header(octets)
    if isinstance(whole, ProxyHeader):
        assert whole.length <= len(octets)
        assert whole == parse_proxy_header(octets[: whole.length])
        assert parse_proxy_header(octets[: whole.length - 1]) is None
    elif whole is None:
        assert len(octets) < 16 + 4096, "it waits for more than a header can have"
        for length in (1, len(octets) // 2):
            assert parse_proxy_header(octets[:length]) is None
    else:
        assert parse_proxy_header(octets + b"x") == whole
