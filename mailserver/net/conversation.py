"""One connection of a client: octets to the machine, events to the session, replies to the transport.

What is decided elsewhere is not decided here: the machine knows what octets mean, the session what to answer. Here are
the clockwork and the valves: deadlines, pausing in both directions, the switch to TLS, the end of a connection.

The valves (hazards, "Size, time, memory"): while an answer is being worked out, or the client does not take what we
wrote, nothing more is read than one buffer full; so a client that sends without reading, or faster than the disk, costs
a bounded amount of memory.
"""

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol, IHandshakeListener, IPushProducer, ITCPTransport
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.internet.tcp import Server
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mailserver.mail.peer import Peer
from mailserver.maillog import Disconnected, Sink
from mailserver.net.coroutines import run
from mailserver.net.deadlines import RATE_PERIOD_S, Deadlines, Phase, TimedOut, Timeouts
from mailserver.net.ending import CLOSED_BY_CLIENT, unsent_octets, why_it_ended
from mailserver.net.sending import send
from mailserver.net.tls import ServerTls
from mailserver.net.turns import Turns
from mailserver.ports import Answer, Cancellable, Clock, Then, TlsDetails

# So much may wait in the machine before reading stops; what the kernel holds comes on top.
MAX_UNREAD_OCTETS = 64 << 10
# After we closed, the connection is dropped once the kernel has nothing more to send, which is looked at so often: a
# client over TLS may never say that it is done. Dropping while octets are on their way would throw them away.
CLOSE_GRACE_S = 10.0
# Replies of one round leave together. A round answers so many pipelined commands, and makes little more than so many
# octets of replies, before they are written and everybody else gets a turn: a flood of HELP, or of LIST over a large
# maildrop, must not make megabytes of answers before it shows that nobody reads them.
MAX_ROUND_REPLIES = 128
MAX_ROUND_OCTETS = 64 << 10
# Content that did not come on for so long may be sent away like a silence, when connections run short.
STALLED_S = 10.0

_log = Logger()


class Machine(Protocol):
    """What SMTP's and POP3's machine have in common."""

    def receive(self, octets: bytes) -> None:
        """Store octets."""

    def tls_started(self) -> None:
        """Forget everything."""

    @property
    def has_buffered_octets(self) -> bool:
        """Whether octets wait that no event was made of."""


class Session(Protocol):
    """What SMTP's and POP3's session have in common."""

    def tls_started(self, details: TlsDetails) -> None:
        """The handshake is done."""

    def lost(self, reason: str) -> None:
        """The connection is gone."""

    @property
    def is_stranger(self) -> bool:
        """Whether nobody has logged in."""

    @property
    def is_waiting(self) -> bool:
        """Whether the answer is held back on purpose, as from one who guesses passwords."""


class Membership(Protocol):
    """What the list of those who are connected wants to know (see `admission`)."""

    def entered(self, conversation: "Conversation") -> None:
        """The connection is there."""

    def left(self, conversation: "Conversation") -> None:
        """The connection is gone."""


@implementer(IHalfCloseableProtocol, IHandshakeListener, IPushProducer)
class Conversation(TwistedProtocol):
    """The Twisted protocol; `SmtpConversation` and `Pop3Conversation` say what is special to each.

    Not to be used by several connections. Everything happens in the reactor thread, nothing blocks.
    """

    # Twisted's ITransport says less than every transport here can: producers, TLS, abort.
    transport: Any

    def __init__(
        self,
        service: str,
        machine: Machine,
        session: Session,
        peer: Peer,
        timeouts: Timeouts,
        clock: Clock,
        log: Sink,
        membership: Membership,
        turns: Turns,
        tls: ServerTls | None,
        *,
        is_implicit_tls: bool,
    ) -> None:
        self.service = service
        self.peer = peer
        self._machine = machine
        self._session = session
        self._clock = clock
        self._log = log
        self._membership = membership
        self._turns = turns
        self._tls = tls
        # Until the handshake is done nothing is said and nothing is understood.
        self._is_shaking_hands = is_implicit_tls
        self._is_greeted = not is_implicit_tls
        self._is_busy = False
        self._is_blocked = False
        self._is_pumping = False
        self._is_reading_paused = False
        self._is_closing = False
        self._is_gone = False
        self._is_aborted = False
        self._is_shutting_down = False
        self._has_input_ended = False
        self._is_lingering = False
        self._unread = 0
        self._out: list[bytes] = []
        self._out_octets = 0
        # Set while the rest of a long round waits for its turn.
        self._turn: Cancellable | None = None
        # How the reply that is being worked out becomes octets.
        self._encode: Callable[[Any], bytes] = bytes
        self._then = Then.CONTINUE
        self._reason = ""
        self._unblocked: list[Deferred[None]] = []
        self._timer: Cancellable | None = None
        self._deadlines = Deadlines(timeouts, clock.monotonic())

    # --- what each protocol says --------------------------------------------------------------------------------------

    @abstractmethod
    def _greet(self) -> None:
        """Begin the answer to the connection itself."""

    @abstractmethod
    def _next(self) -> bool:
        """Take the machine's next event and begin its answer; False when there is none."""

    @abstractmethod
    def _farewell(self, why: TimedOut | None) -> bytes:
        """The last words to a client that was too slow, or (None) when the server stops."""

    @abstractmethod
    def _broken(self) -> bytes:
        """The last words after a mistake of ours."""

    def _is_in_content(self) -> bool:
        return False

    def _content_octets(self) -> int:
        return 0

    # --- Twisted's calls ----------------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """The connection is there."""
        if ITCPTransport.providedBy(self.transport):
            # Without it a small reply waits for the client's delayed acknowledgment (peers: POP3 at 23 messages/s).
            self.transport.setTcpNoDelay(True)
        self.transport.registerProducer(self, True)
        self._membership.entered(self)
        self._arm(self._deadlines.first_look_s)
        if not self._is_shaking_hands:
            self._greet()
            self._pump()

    def handshakeCompleted(self) -> None:
        """TLS is up: after STARTTLS, or at the start with implicit TLS."""
        handle = self.transport.getHandle()
        details = TlsDetails(handle.get_protocol_version_name(), handle.get_cipher_name() or "")
        self._is_shaking_hands = False
        self._deadlines.phase_began = self._clock.monotonic()
        self._session.tls_started(details)
        if not self._is_greeted:
            self._is_greeted = True
            self._machine.tls_started()
            self._greet()
        self._pump()

    def dataReceived(self, data: bytes) -> None:
        """Octets came."""
        if self._is_closing or self._is_gone:
            return
        self._deadlines.last_octets_at = self._clock.monotonic()
        self._machine.receive(data)
        if self._is_busy or self._is_blocked or self._turn is not None:
            self._unread += len(data)
            if self._unread > MAX_UNREAD_OCTETS:
                self._pause_reading()
            return
        self._pump()

    def readConnectionLost(self) -> None:
        """The client sends nothing more, but may still read: what it sent before is answered, then we close too.

        Without this a client that closes its half behind the last dot would have its message filed and never hear so,
        and send it again.
        """
        self._has_input_ended = True
        if self._is_lingering and not self._is_gone:
            self.transport.loseConnection()
        else:
            self._pump()

    def writeConnectionLost(self) -> None:
        """Our half is closed: the client has all our words, or will have (see `_linger`)."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone, for whatever reason."""
        self._is_gone = True
        for timer in (self._timer, self._turn):
            if timer is not None:
                timer.cancel()
        self._timer = self._turn = None
        why = self._reason or why_it_ended(reason)
        if not self._is_closing or self._reason:
            self._log(Disconnected(str(self.peer), self.service, why))
        self._session.lost(why)
        self._membership.left(self)
        self._release_writers()

    # The transport's calls as to a producer: its buffer is full, or has room again.

    def pauseProducing(self) -> None:
        """The client does not take what we write as fast as we make it."""
        self._is_blocked = True
        self._deadlines.phase_began = self._clock.monotonic()

    def resumeProducing(self) -> None:
        """There is room again."""
        self._is_blocked = False
        self._deadlines.phase_began = self._clock.monotonic()
        self._release_writers()
        self._pump()

    def stopProducing(self) -> None:
        """The transport will take nothing more."""
        self._release_writers()

    # --- from octets to replies ---------------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Answer what can be answered now; replies of one round leave in one write."""
        if self._is_pumping or self._is_gone or self._turn is not None:
            return
        self._is_pumping = True
        has_moved = False
        try:
            while not (self._is_busy or self._is_blocked or self._is_closing or self._is_shaking_hands):
                if not self._next():
                    break
                has_moved = True
                if self._then is not Then.CONTINUE:
                    self._flush()
                    self._do_then()
                elif len(self._out) >= MAX_ROUND_REPLIES or self._out_octets > MAX_ROUND_OCTETS:
                    self._turn = self._turns.wait(self._go_on)
                    break
        except Exception:  # noqa: BLE001 - a mistake of ours ends this conversation, never the process
            self._failed(Failure())
        finally:
            self._is_pumping = False
        if self._out:
            self._flush()
        if has_moved:
            self._note_phase()
        if self._is_busy or self._is_blocked or self._turn is not None:
            return
        if self._has_input_ended and not self._is_closing and not self._is_gone:
            self._reason = CLOSED_BY_CLIENT
            self._close()
        else:
            self._resume_reading()

    def _go_on(self) -> None:
        """The rest of a long round."""
        self._turn = None
        self._pump()

    def _answer(self, coroutine: Coroutine[Any, Any, Answer[Any]], encode: Callable[[Any], bytes]) -> None:
        """Begin an answer; nothing else is taken up until it is there (promise 4)."""
        self._is_busy = True
        self._encode = encode
        run(coroutine, self._answered, self._failed)

    def _answer_at_once(self, answer: Answer[Any], encode: Callable[[Any], bytes]) -> None:
        """An answer that is there already, within a round."""
        octets = encode(answer.reply)
        self._out.append(octets)
        self._out_octets += len(octets)
        self._then = answer.then
        if answer.why:
            self._reason = answer.why

    def _answered(self, answer: Answer[Any]) -> None:
        self._is_busy = False
        # Who was evicted while it waited gets no answer behind its last words.
        if self._is_gone or self._is_closing:
            return
        self._answer_at_once(answer, self._encode)
        if not self._is_pumping:
            # The client waited for us until now; its own time starts here.
            self._deadlines.last_octets_at = self._clock.monotonic()
            self._note_phase()
            self._flush()
            self._do_then()
            self._pump()

    def _wait_for(self, awaitable: Awaitable[None]) -> None:
        """Take nothing up until this is done: the disk is slower than the client."""
        self._is_busy = True
        self._pause_reading()
        self._deadlines.wait_began = self._clock.monotonic()

        async def wait() -> None:
            await awaitable

        run(wait(), self._waited, self._failed)

    def _waited(self, _: None) -> None:
        self._is_busy = False
        self._deadlines.wait_ended(self._clock.monotonic())
        if self._is_shutting_down and not self._is_gone:
            self._do_then()
        self._pump()

    def _failed(self, failure: Failure) -> None:
        """Our fault: the log has the traceback, the client hears 421 or its like, the process lives."""
        _log.failure("the conversation with [{peer}] broke", failure=failure, peer=str(self.peer))
        self._is_busy = False
        if not self._is_gone and not self._is_closing:
            self._out.append(self._broken())
            self._reason = "internal error"
            self._flush()
            self._close()

    def _flush(self) -> None:
        if self._out and not self._is_gone and not self._is_aborted:
            octets = b"".join(self._out) if len(self._out) > 1 else self._out[0]
            self._out.clear()
            self._out_octets = 0
            if octets:
                self._write(octets)

    def _write(self, octets: bytes) -> None:
        send(self.transport, octets)

    def _do_then(self) -> None:
        then, self._then = self._then, Then.CONTINUE
        if then is Then.CLOSE or (then is Then.CONTINUE and self._is_shutting_down):
            if then is Then.CONTINUE:
                self._say_farewell(None)
            self._close()
        elif then is Then.START_TLS:
            self._start_tls()

    def _start_tls(self) -> None:
        if self._machine.has_buffered_octets or self._tls is None:
            # Octets between the command and the handshake are an attack or a broken client (hazards, "STARTTLS").
            self._reason = "octets before the TLS handshake"
            self._close()
            return
        self._machine.tls_started()
        self._is_shaking_hands = True
        self._deadlines.phase_began = self._clock.monotonic()
        self.transport.startTLS(self._tls)

    # --- valves -------------------------------------------------------------------------------------------------------

    def _pause_reading(self) -> None:
        if not self._is_reading_paused and not self._is_gone:
            self._is_reading_paused = True
            self.transport.pauseProducing()

    def _resume_reading(self) -> None:
        self._unread = 0
        if self._is_reading_paused and not (self._is_gone or self._is_closing or self._has_input_ended):
            self._is_reading_paused = False
            self.transport.resumeProducing()

    async def _writable(self) -> None:
        """Wait until the transport takes more, or will never again."""
        if self._is_blocked and not self._is_gone:
            waiting: Deferred[None] = Deferred()
            self._unblocked.append(waiting)
            await waiting

    def _release_writers(self) -> None:
        waiting, self._unblocked = self._unblocked, []
        for one in waiting:
            one.callback(None)

    # --- ends ---------------------------------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """Whether nothing of value is under way: it waits for a command, for content that stalls, or on purpose."""
        if self._is_closing or (self._is_busy and not self._session.is_waiting):
            return False
        return not self._is_in_content() or self._clock.monotonic() - self.last_heard_at > STALLED_S

    @property
    def is_stranger(self) -> bool:
        """Whether nobody has logged in; strangers go first when connections run short."""
        return self._session.is_stranger

    @property
    def last_heard_at(self) -> float:
        """When the last octets came, in monotonic seconds."""
        return self._deadlines.last_octets_at

    def shut_down(self) -> None:
        """The server stops: an answer that is being worked out is finished, everything else ends now with 421."""
        self._is_shutting_down = True
        if not self._is_busy and not self._is_closing:
            self._say_farewell(None)
            self._close()

    def evict(self, words: bytes, why: str) -> None:
        """End this connection because its place is needed."""
        if not self._is_gone and not self._is_closing:
            self._reason = why
            self._write_last(words)
            # The place is needed now.
            self._close(may_linger=False)

    def abort(self) -> None:
        """Drop the connection now."""
        if not self._is_gone and not self._is_aborted:
            self._is_aborted = True
            self.transport.abortConnection()

    def _say_farewell(self, why: TimedOut | None) -> None:
        self._reason = why.value if why is not None else "the server stops"
        self._write_last(self._farewell(why))

    def _write_last(self, words: bytes) -> None:
        if not self._is_shaking_hands:
            self._out.append(words)
            self._flush()

    def _close(self, *, may_linger: bool = True) -> None:
        """Close when what was written is out; the timer drops it when the client does not take that."""
        if self._is_closing or self._is_gone:
            return
        # TLS has to read the client's last record before it is at its end.
        self._resume_reading()
        self._is_closing = True
        self._deadlines.phase_began = self._clock.monotonic()
        self.transport.unregisterProducer()
        if self._is_shaking_hands:
            self.abort()
        elif not self._is_aborted:
            if not (may_linger and self._linger()):
                self.transport.loseConnection()
            self._arm(CLOSE_GRACE_S)

    def _linger(self) -> bool:
        """Close our half only and read the client's to its end, for nothing, when the end is our wish and not its own.

        A kernel that has unread input when a connection is closed, or gets more, resets it, and the client never sees
        our last words (RFC 1122 4.2.2.13). TLS reads on by itself. An idle client at the server's stop sends nothing.
        """
        transport = self.transport
        is_unexpected = self._reason and not (self._is_shutting_down and not self._is_in_content())
        if not is_unexpected or self._has_input_ended or type(transport) is not Server or transport.TLS:
            return False
        self._is_lingering = True
        transport.loseWriteConnection()
        return True

    # --- deadlines ----------------------------------------------------------------------------------------------------

    def _arm(self, delay_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if self._is_gone else self._clock.call_later(delay_s, self._look_at_clock)

    def _note_phase(self) -> None:
        self._deadlines.round_ended(is_in_content=self._is_in_content())

    def _phase(self) -> Phase:
        if self._is_shaking_hands:
            return Phase.HANDSHAKE
        if self._is_blocked:
            return Phase.WRITING
        return Phase.ANSWERING if self._is_busy else Phase.READING

    def _look_at_clock(self) -> None:
        """One timer a connection: it looks what is due, ends what is overdue, and sleeps until the next is due."""
        self._timer = None
        now = self._clock.monotonic()
        if self._is_closing:
            may_wait = now < self._deadlines.phase_began + self._deadlines.timeouts.command_s
            if may_wait and not self._is_shaking_hands and unsent_octets(self.transport):
                self._arm(CLOSE_GRACE_S)
            else:
                self.abort()
            return
        due, why = self._deadlines.due(now, self._phase(), self._content_octets())
        if now < due:
            self._arm(min(due - now, RATE_PERIOD_S))
            return
        if why is TimedOut.WRITE or why is TimedOut.HANDSHAKE:
            self._reason = why.value
            self.abort()
            return
        self._say_farewell(why)
        self._close()
