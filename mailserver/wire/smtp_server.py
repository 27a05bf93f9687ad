"""The server's side of SMTP as a machine: octets in, events out, replies in, octets out (RFC 5321).

It reads no clock, awaits nothing, logs nothing and decides nothing about mail; it knows the order of commands and their
grammar. How to drive it:

    machine.greet(reply)                 the octets of the banner
    machine.receive(octets)              store what came
    machine.next_event()                 what it means; None: more octets, or a reply, are needed first
    machine.reply(reply)                 the octets of the answer to the event before (all but `Content` want one)
    machine.tls_started()                after the 220 to STARTTLS, when the handshake is about to begin

After an event that wants a reply `next_event` answers None until `reply` was called; so replies keep the order of the
commands however much is pipelined (RFC 2920 3.2).
"""

from collections.abc import Callable
from enum import Enum

from mailserver.mail import reply as replies
from mailserver.mail.envelope import Envelope
from mailserver.mail.reply import Reply
from mailserver.wire.lines import LineFault, LineReader, OctetBuffer
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
from mailserver.wire.smtp_content import ContentIntake
from mailserver.wire.smtp_events import (
    Auth,
    Content,
    Data,
    EndOfChunk,
    EndOfContent,
    Faulted,
    Hello,
    Help,
    InjectedOctets,
    Mail,
    Noop,
    Quit,
    Rcpt,
    Reset,
    SmtpEvent,
    StartTls,
    Verify,
)
from mailserver.wire.smtp_grammar import parse_bdat, parse_hello, parse_mail, parse_rcpt

# RFC 5321 4.5.3.1.4 asks for 512; SMTPUTF8, ORCPT and ENVID add to it, and nothing honest comes near this.
MAX_COMMAND_OCTETS = 2_048

_LINE_FAULTS = {
    LineFault.TOO_LONG: replies.COMMAND_TOO_LONG,
    LineFault.BARE_NEWLINE: replies.COMMAND_BARE_NEWLINE,
    LineFault.NUL: replies.COMMAND_NUL,
}


class State(Enum):
    """Where the conversation stands. The first four are those in which commands are read."""

    READY = "no transaction"
    MAIL = "MAIL was accepted"
    RCPT = "at least one RCPT was accepted"
    CHUNKS = "at least one BDAT was accepted"
    CONTENT = "the content of DATA comes"
    CHUNK = "the octets of a BDAT chunk come"
    AUTH_RESPONSE = "the next line is a response of a SASL exchange"
    SILENT = "nothing is read: before the banner, during a handshake, after the end"


class SmtpServer:
    """One conversation. `max_content_octets` bounds a message; what exceeds it is read and not handed on.

    `is_tls` tells that TLS was there before the first octet (port 465).
    """

    __slots__ = (
        "_authenticated",
        "_buffer",
        "_exchange",
        "_intake",
        "_lines",
        "_pending",
        "_recipient_refused",
        "_smtputf8",
        "_state",
        "_state_before_chunk",
        "_tls",
        "offers_auth",
        "offers_requiretls",
        "repairs_bare_newlines",
    )

    def __init__(self, *, max_content_octets: int, is_tls: bool = False) -> None:
        self._buffer = OctetBuffer()
        self._lines = LineReader(self._buffer)
        self._state = State.SILENT
        self._pending: SmtpEvent | None = None  # told, and not answered yet
        self._authenticated = False
        self._tls = is_tls
        self._exchange: Exchange | None = None
        self._intake = ContentIntake(self._buffer, max_octets=max_content_octets)
        self._state_before_chunk = State.READY
        # Whether MAIL may carry the AUTH parameter; the session keeps it in step with what EHLO says.
        self.offers_auth = False
        # Likewise the REQUIRETLS parameter (RFC 8689).
        self.offers_requiretls = False
        # Whether a bare CR or LF in content becomes a CRLF; the session sets it for clients that may.
        self.repairs_bare_newlines = False
        self._forget_transaction()

    # --- for the driver -----------------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """Where the conversation stands."""
        return self._state

    @property
    def is_in_content(self) -> bool:
        """True while content octets are expected."""
        return self._state in (State.CONTENT, State.CHUNK) and self._pending is None

    @property
    def content_octets(self) -> int:
        """How many octets of this message's content were read from the buffer, also those that are refused."""
        return self._intake.octets

    @property
    def has_buffered_octets(self) -> bool:
        """True when octets wait that no event was made of."""
        return len(self._buffer) > 0

    @property
    def buffered_octets(self) -> int:
        """How many octets wait; the driver stops reading when a client sends much before it has its answers."""
        return len(self._buffer)

    def receive(self, octets: bytes) -> None:
        """Store octets. Nothing is looked at before `next_event`."""
        self._buffer.receive(octets)

    def greet(self, reply: Reply) -> bytes:
        """The octets of the banner; anything but 220 ends the conversation."""
        self._state = State.READY if reply.code == 220 else State.SILENT
        return reply.encode()

    def next_event(self) -> SmtpEvent | None:
        """The next event; None when octets or a reply are missing."""
        if self._pending is not None or self._state is State.SILENT:
            return None
        if self._state in (State.CONTENT, State.CHUNK):
            return self._next_of_content()
        return self._next_of_line()

    def reply(self, reply: Reply) -> bytes:
        """Answer the event before: moves the conversation on by the reply's code and gives the octets to send."""
        event, self._pending = self._pending, None
        assert event is not None, "a reply without an event"
        self._advance(event, reply.code)
        if reply.code == 421:  # RFC 5321 3.8: the connection is closed after it
            self._end()
        return reply.encode()

    def tls_started(self) -> None:
        """The handshake is about to begin: forget all that was learnt in clear (RFC 3207 4.2)."""
        self._buffer.clear()
        self._lines.stop_discarding()
        self._forget_transaction()
        self._authenticated = False
        self._exchange = None
        self._tls = True
        self._state = State.READY

    # --- how replies move the conversation ----------------------------------------------------------------------------

    def _advance(self, event: SmtpEvent, code: int) -> None:
        match event:  # the most frequent first
            case Rcpt():
                if 250 <= code < 260:
                    self._state = State.RCPT
                else:
                    self._recipient_refused = True
            case Mail(envelope):
                if code == 250:
                    self._begin_transaction(envelope)
            case Data():
                if code == 354:
                    self._intake.begin_data(repairs=self.repairs_bare_newlines)
                    self._state = State.CONTENT
            case EndOfContent():
                self._forget_transaction()
            case Hello() | Reset():
                if code == 250:
                    self._forget_transaction()
            case EndOfChunk():
                if code == 250:
                    self._state = State.CHUNKS
                else:
                    # RFC 3030 2 leaves a client nothing but RSET here; chunks it has sent already are read and refused.
                    self._forget_transaction()
            case Auth():
                self._state = State.AUTH_RESPONSE if code == 334 else State.READY
                self._authenticated = self._authenticated or code == 235
            case Faulted():
                if event.must_close:
                    self._end()
                elif self._state is State.AUTH_RESPONSE:
                    self._state = State.READY
                elif self._state is State.CHUNK:
                    self._state = self._state_before_chunk
            case StartTls():
                if code == 220:
                    self._state = State.SILENT
            case Quit() | InjectedOctets():
                self._end()
            case _:
                pass

    def _begin_transaction(self, envelope: Envelope) -> None:
        self._forget_transaction()
        self._smtputf8 = envelope.smtputf8
        self._state = State.MAIL

    def _forget_transaction(self) -> None:
        if self._state is not State.SILENT:
            self._state = State.READY
        self._smtputf8 = False
        self._recipient_refused = False
        self._intake.forget()

    def _end(self) -> None:
        self._state = State.SILENT
        self._buffer.clear()

    def _told(self, event: SmtpEvent) -> SmtpEvent:
        self._pending = event
        return event

    def _next_of_content(self) -> SmtpEvent | None:
        event = self._intake.next_event()
        return event if event is None or isinstance(event, Content) else self._told(event)

    # --- commands -----------------------------------------------------------------------------------------------------

    def _next_of_line(self) -> SmtpEvent | None:
        buffer = self._buffer
        if not (buffer.chunk or buffer.rest) or not self._lines.is_at_line_start():
            return None
        is_response = self._state is State.AUTH_RESPONSE
        is_long = is_response or buffer.peek(5).upper() == b"AUTH "
        line = self._lines.next_line(MAX_SASL_LINE_OCTETS if is_long else MAX_COMMAND_OCTETS)
        if line is None:
            return None
        if isinstance(line, LineFault):
            return self._told(Faulted("AUTH" if is_response else "", _LINE_FAULTS[line]))
        event = self._auth_response(line) if is_response else self._command(line)
        return self._next_of_content() if event is None else self._told(event)

    def _command(self, line: bytes) -> SmtpEvent | None:
        """The event of one command line; None when a BDAT chunk begins instead."""
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            return Faulted("", replies.COMMAND_NOT_TEXT)
        verb, _, argument = text.partition(" ")
        # Without the check for ASCII `\u017ftarttls` would be STARTTLS.
        verb = verb.upper() if verb.isascii() else ""
        read = _READ.get(verb)
        if read is None:
            return Faulted("", replies.COMMAND_NOT_IMPLEMENTED if verb == "EXPN" else replies.COMMAND_UNKNOWN)
        refusal = self._out_of_sequence(verb)
        if refusal is not None and verb != "BDAT":
            return Faulted(verb, refusal)
        return read(self, argument.strip(" \t"))

    def _out_of_sequence(self, verb: str) -> Reply | None:
        refusal = _OUT_OF_SEQUENCE.get((self._state, verb))
        if refusal is replies.NEED_RCPT and self._recipient_refused:
            return replies.NO_VALID_RECIPIENTS
        return refusal

    def _read_ehlo(self, argument: str) -> SmtpEvent:
        name = parse_hello(argument)
        return Faulted("EHLO", name) if isinstance(name, Reply) else Hello(name, is_extended=True)

    def _read_helo(self, argument: str) -> SmtpEvent:
        name = parse_hello(argument)
        return Faulted("HELO", name) if isinstance(name, Reply) else Hello(name, is_extended=False)

    def _read_mail(self, argument: str) -> SmtpEvent:
        envelope = parse_mail(argument, offers_auth=self.offers_auth, offers_requiretls=self.offers_requiretls)
        return Faulted("MAIL", envelope) if isinstance(envelope, Reply) else Mail(envelope)

    def _read_rcpt(self, argument: str) -> SmtpEvent:
        recipient = parse_rcpt(argument, smtputf8=self._smtputf8)
        return Faulted("RCPT", recipient) if isinstance(recipient, Reply) else Rcpt(recipient)

    def _read_data(self, argument: str) -> SmtpEvent:
        return _without_argument("DATA", argument, Data())

    def _read_bdat(self, argument: str) -> SmtpEvent | None:
        chunk = parse_bdat(argument)
        if chunk is None:
            return Faulted("BDAT", replies.BDAT_SIZE_WRONG, must_close=True)
        self._intake.begin_chunk(chunk, self._out_of_sequence("BDAT"), repairs=self.repairs_bare_newlines)
        self._state_before_chunk = self._state
        self._state = State.CHUNK
        return None

    def _read_rset(self, argument: str) -> SmtpEvent:
        return _without_argument("RSET", argument, Reset())

    def _read_noop(self, argument: str) -> SmtpEvent:
        del argument  # RFC 5321 4.1.1.9: ignored
        return Noop()

    def _read_vrfy(self, argument: str) -> SmtpEvent:
        return Verify() if argument else Faulted("VRFY", replies.argument_wrong("an address is expected"))

    def _read_help(self, argument: str) -> SmtpEvent:
        del argument
        return Help()

    def _read_quit(self, argument: str) -> SmtpEvent:
        return _without_argument("QUIT", argument, Quit())

    def _read_starttls(self, argument: str) -> SmtpEvent:
        if argument:
            return _without_argument("STARTTLS", argument, StartTls())
        if self._tls:
            return Faulted("STARTTLS", replies.TLS_ALREADY)
        if self.has_buffered_octets:
            self._buffer.clear()
            return InjectedOctets()
        return StartTls()

    def _read_auth(self, argument: str) -> SmtpEvent:
        """RFC 4954 4: `mechanism [initial-response]`."""
        if self._authenticated:
            return Faulted("AUTH", replies.AUTH_ALREADY)
        name, _, word = argument.partition(" ")
        mechanism = mechanism_named(name)
        if mechanism is None:
            return Faulted("AUTH", replies.AUTH_MECHANISM_UNKNOWN)
        self._exchange = Exchange(mechanism)
        initial = decode_initial_response(word.encode("utf-8")) if word else None
        step: Step = initial if isinstance(initial, SaslFault) else self._exchange.start(initial)
        return Auth(mechanism, step)

    def _auth_response(self, line: bytes) -> SmtpEvent:
        assert self._exchange is not None
        if line.rstrip(b" \t") == CANCEL:
            return Faulted("AUTH", replies.AUTH_CANCELLED)
        response = decode_response(line)
        step: Step = response if isinstance(response, SaslFault) else self._exchange.respond(response)
        return Auth(self._exchange.mechanism, step)


def _without_argument(verb: str, argument: str, event: SmtpEvent) -> SmtpEvent:
    return Faulted(verb, replies.argument_wrong("nothing is expected behind this command")) if argument else event


# What reads the argument of each command.
_READ: dict[str, Callable[[SmtpServer, str], SmtpEvent | None]] = {
    "EHLO": SmtpServer._read_ehlo,
    "HELO": SmtpServer._read_helo,
    "MAIL": SmtpServer._read_mail,
    "RCPT": SmtpServer._read_rcpt,
    "DATA": SmtpServer._read_data,
    "BDAT": SmtpServer._read_bdat,
    "RSET": SmtpServer._read_rset,
    "NOOP": SmtpServer._read_noop,
    "VRFY": SmtpServer._read_vrfy,
    "HELP": SmtpServer._read_help,
    "QUIT": SmtpServer._read_quit,
    "STARTTLS": SmtpServer._read_starttls,
    "AUTH": SmtpServer._read_auth,
}

# The order of commands (RFC 5321 4.1.4, RFC 3030 2, RFC 4954 4). What is not here is allowed.
#
#            READY       MAIL         RCPT         CHUNKS
#   MAIL     yes         nested       nested       only BDAT
#   RCPT     MAIL first  yes          yes          only BDAT
#   DATA     MAIL first  RCPT first   yes          only BDAT
#   BDAT     MAIL first  RCPT first   yes          yes
#   STARTTLS yes         not now      not now      not now
#   AUTH     yes         not now      not now      not now
_OUT_OF_SEQUENCE: dict[tuple[State, str], Reply] = {
    (State.MAIL, "MAIL"): replies.NESTED_MAIL,
    (State.RCPT, "MAIL"): replies.NESTED_MAIL,
    (State.CHUNKS, "MAIL"): replies.CHUNKS_BEGUN,
    (State.READY, "RCPT"): replies.NEED_MAIL,
    (State.CHUNKS, "RCPT"): replies.CHUNKS_BEGUN,
    (State.READY, "DATA"): replies.NEED_MAIL,
    (State.MAIL, "DATA"): replies.NEED_RCPT,
    (State.CHUNKS, "DATA"): replies.CHUNKS_BEGUN,
    (State.READY, "BDAT"): replies.NEED_MAIL,
    (State.MAIL, "BDAT"): replies.NEED_RCPT,
    (State.MAIL, "STARTTLS"): replies.NOT_IN_TRANSACTION,
    (State.RCPT, "STARTTLS"): replies.NOT_IN_TRANSACTION,
    (State.CHUNKS, "STARTTLS"): replies.NOT_IN_TRANSACTION,
    (State.MAIL, "AUTH"): replies.NOT_IN_TRANSACTION,
    (State.RCPT, "AUTH"): replies.NOT_IN_TRANSACTION,
    (State.CHUNKS, "AUTH"): replies.NOT_IN_TRANSACTION,
}
