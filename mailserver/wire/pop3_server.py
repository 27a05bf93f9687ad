"""The server's side of POP3 as a machine: octets in, events out, replies in, octets out.

RFC 1939, with RFC 2449 (CAPA, response codes), RFC 2595 (STLS), RFC 5034 (AUTH) and RFC 6856 (UTF8, LANG).

It reads no clock, awaits nothing, logs nothing and knows no maildrop; it knows the order of commands and their grammar.
It is driven as the SMTP machine is:

    machine.greet(reply)                 the octets of the greeting
    machine.receive(octets)              store what came
    machine.next_event()                 what it means; None: more octets, or a reply, are needed first
    machine.reply(reply)                 the octets of the answer to the event before
    machine.tls_started()                after the +OK to STLS, when the handshake is about to begin

After an event `next_event` answers None until `reply` was called; so responses keep the order of the commands however
much is pipelined (RFC 2449 6.6).

A line ends in CRLF, or in a bare LF as people at a terminal send it: no content goes from client to server in POP3, so
there is nothing to smuggle, and every server a client's author has tried takes it too.
"""

from dataclasses import dataclass
from enum import Enum

from mailserver.mail import pop3_reply as replies
from mailserver.mail.pop3_reply import Pop3Reply, Status
from mailserver.wire.lines import OctetBuffer
from mailserver.wire.pop3_events import (
    Auth,
    Capabilities,
    Faulted,
    InjectedOctets,
    Mechanisms,
    Noop,
    Pop3Event,
    Quit,
    Reset,
    StartTls,
    Stat,
    Utf8,
)
from mailserver.wire.pop3_grammar import (
    Parse,
    bare,
    parse_dele,
    parse_lang,
    parse_list,
    parse_pass,
    parse_retr,
    parse_top,
    parse_uidl,
    parse_user,
)
from mailserver.wire.sasl import (
    CANCEL,
    MAX_SASL_LINE_OCTETS,
    Exchange,
    SaslFault,
    Step,
    decode_initial_response,
    decode_response,
    mechanism_named,
)

# RFC 2449 4 asks for 255; long passwords and UTF-8 names are longer. CRLF included.
MAX_COMMAND_OCTETS = 512


class State(Enum):
    """Where the conversation stands (RFC 1939 3)."""

    SILENT = "nothing is read: before the greeting, during a handshake"
    AUTHORIZATION = "nobody has logged in"
    TRANSACTION = "the maildrop is open"
    UPDATE = "nothing is read any more: QUIT, or the connection is being closed"


@dataclass(frozen=True, slots=True)
class Command:
    """One row of the table: in which states a verb is understood, and how its arguments read."""

    states: frozenset[State]
    parse: Parse


_BEFORE = frozenset({State.AUTHORIZATION})
_DURING = frozenset({State.TRANSACTION})
_ALWAYS = _BEFORE | _DURING

COMMANDS: dict[bytes, Command] = {
    b"USER": Command(_BEFORE, parse_user),
    b"PASS": Command(_BEFORE, parse_pass),
    b"STLS": Command(_BEFORE, bare(StartTls())),
    b"UTF8": Command(_BEFORE, bare(Utf8())),
    b"STAT": Command(_DURING, bare(Stat())),
    b"LIST": Command(_DURING, parse_list),
    b"UIDL": Command(_DURING, parse_uidl),
    b"RETR": Command(_DURING, parse_retr),
    b"TOP": Command(_DURING, parse_top),
    b"DELE": Command(_DURING, parse_dele),
    b"RSET": Command(_DURING, bare(Reset())),
    b"NOOP": Command(_DURING, bare(Noop())),
    b"CAPA": Command(_ALWAYS, bare(Capabilities())),
    b"LANG": Command(_ALWAYS, parse_lang),
    b"QUIT": Command(_ALWAYS, bare(Quit())),
}
# AUTH is not in the table because its lines are longer and begin an exchange; it is understood in AUTHORIZATION.
_AUTH = b"AUTH"


class Pop3Server:
    """One conversation."""

    __slots__ = ("_buffer", "_exchange", "_is_discarding", "_is_greeted", "_pending", "_scanned", "_state")

    def __init__(self) -> None:
        self._buffer = OctetBuffer()
        self._scanned = 0  # octets of the buffer that hold no LF
        self._is_discarding = False
        self._is_greeted = False
        self._state = State.SILENT
        self._pending: Pop3Event | None = None
        # Set while the next line is a response of a SASL exchange.
        self._exchange: Exchange | None = None

    @property
    def state(self) -> State:
        """Where the conversation stands."""
        return self._state

    @property
    def has_buffered_octets(self) -> bool:
        """True when octets wait that no event was made of."""
        return len(self._buffer) > 0

    @property
    def buffered_octets(self) -> int:
        """How many octets wait."""
        return len(self._buffer)

    def receive(self, octets: bytes) -> None:
        """Store octets. Nothing is looked at before `next_event`."""
        if self._state is not State.UPDATE:
            self._buffer.receive(octets)

    def greet(self, reply: Pop3Reply) -> bytes:
        """The octets of the greeting; -ERR ends the conversation."""
        self._is_greeted = True
        self._state = State.AUTHORIZATION if reply.is_positive else State.UPDATE
        return reply.encode()

    def next_event(self) -> Pop3Event | None:
        """The next event; None when octets or a reply are missing."""
        if self._pending is not None or self._state in (State.SILENT, State.UPDATE):
            return None
        line = self._next_line()
        if line is not None:
            self._pending = self._event(line)
        return self._pending

    def reply(self, reply: Pop3Reply) -> bytes:
        """Answer the event before: moves the conversation on and gives the octets to send, but for `reply.pieces`."""
        event, self._pending = self._pending, None
        assert event is not None, "a reply without an event"
        if reply.opens_maildrop:
            self._state = State.TRANSACTION
        if self._exchange is not None and reply.status is not Status.CHALLENGE:
            self._exchange = None
        if isinstance(event, Quit | InjectedOctets):
            self._end()
        elif isinstance(event, StartTls) and reply.is_positive:
            self._state = State.SILENT
        return reply.encode()

    def tls_started(self) -> None:
        """The handshake is about to begin: forget all that was said in clear (RFC 2595 4)."""
        self._buffer.clear()
        self._scanned = 0
        self._is_discarding = False
        self._exchange = None
        # With TLS from the start the greeting is still to come.
        if self._is_greeted:
            self._state = State.AUTHORIZATION

    def _end(self) -> None:
        self._state = State.UPDATE
        self._buffer.clear()

    # --- lines --------------------------------------------------------------------------------------------------------

    def _is_too_long(self, octets: int, beginning: bytes) -> bool:
        """Whether a line of so many octets, line end not counted, is refused. RFC 5034 4: SASL lines may be longer."""
        if octets <= MAX_COMMAND_OCTETS - 2:
            return False
        is_sasl = self._exchange is not None or beginning[:5].upper() == b"AUTH "
        return not is_sasl or octets > MAX_SASL_LINE_OCTETS - 2

    def _next_line(self) -> bytes | Pop3Reply | None:
        """A line without its end, a refusal when it is too long, None when it is not complete yet.

        An over-long line is refused as soon as that shows, and dropped up to its end.
        """
        if self._is_discarding and not self._discard():
            return None
        received = len(self._buffer)
        if received == self._scanned:
            return None
        end = self._buffer.find(b"\n", self._scanned)
        if end < 0:
            self._scanned = received
            # A CR at the end may belong to the line's end, so it is not counted yet.
            if not self._is_too_long(received - self._buffer.endswith(b"\r"), self._buffer.peek(5)):
                return None
            self._is_discarding = True
            self._discard()
            return replies.LINE_TOO_LONG
        self._scanned = 0
        line = self._buffer.take(end + 1)[:-1].removesuffix(b"\r")
        return replies.LINE_TOO_LONG if self._is_too_long(len(line), line) else line

    def _discard(self) -> bool:
        """Drop octets up to the end of the line; True when it was there."""
        self._scanned = 0
        end = self._buffer.find(b"\n")
        if end < 0:
            self._buffer.clear()
            return False
        self._buffer.skip(end + 1)
        self._is_discarding = False
        return True

    # --- commands -----------------------------------------------------------------------------------------------------

    def _event(self, line: bytes | Pop3Reply) -> Pop3Event:
        if isinstance(line, Pop3Reply):
            return Faulted("", line)
        if b"\0" in line or b"\r" in line:
            return Faulted("", replies.LINE_WITH_CONTROLS)
        if self._exchange is not None:
            return self._response(self._exchange, line)
        verb_raw, blank, rest = line.partition(b" ")
        return self._command(verb_raw.upper(), rest if blank else None)

    def _command(self, verb: bytes, rest: bytes | None) -> Pop3Event:
        if verb == _AUTH:
            return self._auth(rest)
        command = COMMANDS.get(verb)
        if command is None:
            return Faulted("", replies.UNKNOWN_COMMAND if verb else replies.EMPTY_COMMAND)
        name = verb.decode("ascii")
        if self._state not in command.states:
            return Faulted(name, self._out_of_sequence())
        event = command.parse(rest)
        if isinstance(event, Pop3Reply):
            return Faulted(name, event)
        if isinstance(event, StartTls) and self.has_buffered_octets:
            self._buffer.clear()
            return InjectedOctets()
        return event

    def _out_of_sequence(self) -> Pop3Reply:
        return replies.NOT_BEFORE_LOGIN if self._state is State.AUTHORIZATION else replies.NOT_AFTER_LOGIN

    # --- SASL ---------------------------------------------------------------------------------------------------------

    def _auth(self, rest: bytes | None) -> Pop3Event:
        """AUTH, a mechanism, and perhaps an initial response (RFC 5034 4)."""
        if self._state is not State.AUTHORIZATION:
            return Faulted("AUTH", self._out_of_sequence())
        words = [word for word in (rest or b"").split(b" ") if word]
        if not words:
            return Mechanisms()
        if len(words) > 2:
            return Faulted("AUTH", replies.WANTS_MECHANISM)
        mechanism = mechanism_named(words[0].decode("ascii", "replace"))
        if mechanism is None:
            return Faulted("AUTH", replies.MECHANISM_UNKNOWN)
        initial = decode_initial_response(words[1]) if len(words) == 2 else None
        if isinstance(initial, SaslFault):
            return Faulted("AUTH", replies.auth_malformed(initial.reason))
        self._exchange = Exchange(mechanism)
        return self._stepped(self._exchange, self._exchange.start(initial))

    def _response(self, exchange: Exchange, line: bytes) -> Pop3Event:
        """A line in answer to a challenge; `*` cancels."""
        if line == CANCEL:
            return Faulted("AUTH", replies.AUTH_CANCELLED)
        response = decode_response(line)
        if isinstance(response, SaslFault):
            return Faulted("AUTH", replies.auth_malformed(response.reason))
        return self._stepped(exchange, exchange.respond(response))

    def _stepped(self, exchange: Exchange, step: Step) -> Pop3Event:
        return Auth(exchange.mechanism, step)
