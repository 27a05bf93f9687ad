"""One connection of a client as a thing that is read, written, timed and ended; what is said on it is not known here.

The valves (hazards, "Size, time, memory"): while an answer is being worked out, or the client does not take what we
wrote, nothing more is read than one buffer full; so a client that sends without reading, or faster than the disk, costs
a bounded amount of memory. One timer looks after all deadlines of a connection.
"""

from abc import abstractmethod
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.tcp import Server

from mailserver.mail.peer import Peer
from mailserver.net.conversation_doors import Session
from mailserver.net.deadlines import RATE_PERIOD_S, Deadlines, Phase, TimedOut, Timeouts
from mailserver.net.ending import unsent_octets
from mailserver.net.sending import send
from mailserver.ports import Cancellable, Clock

# So much may wait in the machine before reading stops; what the kernel holds comes on top.
MAX_UNREAD_OCTETS = 64 << 10
# After we closed, the connection is dropped once the kernel has nothing more to send, which is looked at so often: a
# client over TLS may never say that it is done. Dropping while octets are on their way would throw them away.
CLOSE_GRACE_S = 10.0
# Content that did not come on for so long may be sent away like a silence, when connections run short.
STALLED_S = 10.0


class Connection(TwistedProtocol):
    """The base of `Conversation`. Everything happens in the reactor thread, nothing blocks."""

    # Twisted's ITransport says less than every transport here can: producers, TLS, abort.
    transport: Any

    def __init__(
        self, peer: Peer, session: Session, timeouts: Timeouts, clock: Clock, *, is_implicit_tls: bool
    ) -> None:
        self.peer = peer
        self._session = session
        self._clock = clock
        # Until the handshake is done nothing is said and nothing is understood.
        self._is_shaking_hands = is_implicit_tls
        self._is_busy = False
        self._is_blocked = False
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
        self._reason = ""
        self._unblocked: list[Deferred[None]] = []
        self._timer: Cancellable | None = None
        self._deadlines = Deadlines(timeouts, clock.monotonic())

    # --- what each protocol says --------------------------------------------------------------------------------------

    @abstractmethod
    def _farewell(self, why: TimedOut | None) -> bytes:
        """The last words to a client that was too slow, or (None) when the server stops."""

    def _is_in_content(self) -> bool:
        return False

    def _content_octets(self) -> int:
        return 0

    # --- writing ------------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        if self._out and not self._is_gone and not self._is_aborted:
            octets = b"".join(self._out) if len(self._out) > 1 else self._out[0]
            self._out.clear()
            self._out_octets = 0
            if octets:
                self._write(octets)

    def _write(self, octets: bytes) -> None:
        send(self.transport, octets)

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
    def is_answering(self) -> bool:
        """Whether an answer, or room on the disk, is being waited for."""
        return self._is_busy

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
        if not is_unexpected or self._has_input_ended or not isinstance(transport, Server) or transport.TLS:
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
