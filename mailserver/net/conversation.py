"""One connection of a client: octets to the machine, events to the session, replies to the transport.

What is decided elsewhere is not decided here: the machine knows what octets mean, the session what to answer. Pausing
in both directions, deadlines and the end of the connection are those of `connection`.
"""

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol, IHandshakeListener, IPushProducer, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mailserver.mail.peer import Peer
from mailserver.maillog import Disconnected, Sink
from mailserver.net.channel_binding import channel_binding
from mailserver.net.connection import MAX_UNREAD_OCTETS, Connection
from mailserver.net.conversation_doors import Machine, Membership, Session
from mailserver.net.coroutines import run
from mailserver.net.deadlines import Timeouts
from mailserver.net.ending import CLOSED_BY_CLIENT, why_it_ended
from mailserver.net.server_transport import QuickServer
from mailserver.net.tls import ServerTls
from mailserver.net.turns import Turns
from mailserver.ports import Answer, Cancellable, Clock, Then, TlsDetails

# Replies of one round leave together. A round answers so many pipelined commands, and makes little more than so many
# octets of replies, before they are written and everybody else gets a turn: a flood of HELP, or of LIST over a large
# maildrop, must not make megabytes of answers before it shows that nobody reads them.
MAX_ROUND_REPLIES = 128
MAX_ROUND_OCTETS = 64 << 10

_log = Logger()


@implementer(IHalfCloseableProtocol, IHandshakeListener, IPushProducer)
class Conversation(Connection):
    """The Twisted protocol; `SmtpConversation` and `Pop3Conversation` say what is special to each.

    Not to be used by several connections. Everything happens in the reactor thread, nothing blocks.
    """

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
        super().__init__(peer, session, timeouts, clock, is_implicit_tls=is_implicit_tls)
        self.service = service
        self._machine = machine
        self._log = log
        self._membership = membership
        self._turns = turns
        self._tls = tls
        self._is_greeted = not is_implicit_tls
        self._is_pumping = False
        # Set while the rest of a long round waits for its turn.
        self._turn: Cancellable | None = None
        # How the reply that is being worked out becomes octets.
        self._encode: Callable[[Any], bytes] = bytes
        self._then = Then.CONTINUE

    # --- what each protocol says --------------------------------------------------------------------------------------

    @abstractmethod
    def _greet(self) -> None:
        """Begin the answer to the connection itself."""

    @abstractmethod
    def _next(self) -> bool:
        """Take the machine's next event and begin its answer; False when there is none."""

    @abstractmethod
    def _broken(self) -> bytes:
        """The last words after a mistake of ours."""

    # --- Twisted's calls ----------------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """The connection is there."""
        # Without it a small reply waits for the client's delayed acknowledgment (peers: POP3 at 23 messages/s). The
        # connections of our own ports have it from the socket that listens.
        if type(self.transport) is not QuickServer and ITCPTransport.providedBy(self.transport):
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
        binding = partial(channel_binding, handle)
        details = TlsDetails(
            handle.get_protocol_version_name(), handle.get_cipher_name() or "", channel_binding=binding
        )
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
