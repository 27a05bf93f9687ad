"""A stream on which an SMTP client asks and is answered, every wait with its end.

What breaks a conversation (connection lost, time over, octets that are no reply) is one exception, `Gone`, caught by
the conversation's steps and turned into outcomes there.
"""

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar

from mailserver.mail.outcome import Stage
from mailserver.mail.reply import Reply, printable
from mailserver.mail.transcript import Transcript
from mailserver.ports import Cancellable, Clock, ConnectionFailed, Stream, TlsFailed
from mailserver.wire.smtp_replies import ReplyFault, ReplyParser

T = TypeVar("T")

# Only what has arrived already counts as last words; the time is for a stream that does not know yet that it is dead.
LAST_WORDS_S = 5.0
# Two times that differ by less are the same.
_INSTANT_S = 0.001
# What is being written or waited for, where a transcript must not show it.
AUTH = "AUTH"
CONTENT = "the content"


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds for each phase (RFC 5321 4.5.3.2). `block_s` is for each piece of content on its way out."""

    banner_s: float = 300.0
    ehlo_s: float = 300.0
    starttls_s: float = 120.0
    handshake_s: float = 60.0
    auth_s: float = 120.0
    mail_s: float = 300.0
    rcpt_s: float = 300.0
    data_s: float = 120.0
    block_s: float = 180.0
    eod_s: float = 600.0
    quit_s: float = 10.0

    @classmethod
    def within(cls, command_s: float) -> "Timeouts":
        """With this time for each answer, where the standard does not give less; twice that after the content."""
        usual = cls()
        return cls(
            banner_s=command_s,
            ehlo_s=command_s,
            starttls_s=min(command_s, usual.starttls_s),
            handshake_s=min(command_s, usual.handshake_s),
            auth_s=min(command_s, usual.auth_s),
            mail_s=command_s,
            rcpt_s=command_s,
            data_s=min(command_s, usual.data_s),
            block_s=min(command_s, usual.block_s),
            eod_s=2 * command_s,
            quit_s=min(command_s, usual.quit_s),
        )

    def for_reply(self, stage: Stage) -> float:
        """How long a reply at this stage of a transaction may take."""
        if stage is Stage.MAIL:
            return self.mail_s
        if stage is Stage.RCPT:
            return self.rcpt_s
        return self.data_s if stage is Stage.DATA else self.eod_s


class Gone(Exception):
    """The conversation cannot go on. The text is our plain sentence for outcomes."""


class ClientChannel:
    """Commands out, replies in, over one stream. `close` or `drop` must be called at the end.

    Every wait has its deadline, and one timer serves them all: it looks at the present deadline when it fires, and is
    set anew only when that is nearer. A message has five waits, nearly all of which end at once.
    """

    def __init__(self, stream: Stream, clock: Clock, timeouts: Timeouts) -> None:
        self.stream = stream
        self.timeouts = timeouts
        self._clock = clock
        self._parser = ReplyParser()
        self.transcript: Transcript | None = None
        self._deadline: float | None = None
        self._timer: Cancellable | None = None
        self._fires_at = 0.0
        self._is_late = False

    @property
    def has_input(self) -> bool:
        """Whether octets wait that nobody has asked for."""
        return self._parser.has_input

    def forget(self) -> None:
        """Begin anew behind a TLS handshake."""
        self._parser = ReplyParser()

    def close(self) -> None:
        """Close the stream when everything written is out; never raises."""
        self._end_timer()
        self.stream.close()

    def drop(self) -> None:
        """Abort the stream; never raises."""
        self._end_timer()
        self.stream.abort()

    def expect_silence(self) -> None:
        """Before we speak, every reply must have been asked for: one too many would shift all that follow.

        Raises `Gone`; with the words of a 421, which alone may come unasked (RFC 5321 3.8).
        """
        if self._parser.has_input:
            reply = self._parser.next_reply()
            if isinstance(reply, Reply) and reply.code == 421:
                raise Gone(f"the host is closing the connection: {printable(str(reply))[:200]}")
            raise Gone("the host gave an answer that nobody asked for")

    async def ask(self, command: bytes, timeout_s: float, what: str) -> Reply:
        """Say a command, and the reply to it. Raises `Gone`."""
        self.expect_silence()
        await self.write(command, timeout_s, what)
        return await self.read_reply(timeout_s, what)

    async def read_reply(self, timeout_s: float, what: str) -> Reply:
        """The next reply. The time is for the whole reply, so that a drip of octets does not stretch it."""
        try:
            reply = await self._next_reply(timeout_s, what)
        except Gone as gone:
            if self.transcript is not None:
                self.transcript.failed(str(gone))
            raise
        if self.transcript is not None:
            self._note_reply(reply, what)
        return reply

    def _note_reply(self, reply: Reply, what: str) -> None:
        assert self.transcript is not None
        if what == AUTH and reply.code == 334:
            self.transcript.happened("(a challenge, not shown)")
        else:
            self.transcript.heard(reply)

    async def _next_reply(self, timeout_s: float, what: str) -> Reply:
        reply = self._parser.next_reply()
        if reply is None:
            reply = await self.within(timeout_s, self._receive_reply(), f"an answer to {what}")
        if isinstance(reply, ReplyFault):
            seen = f": {printable(reply.lines[0])[:200]}" if reply.lines else ""
            raise Gone(f"the host sent {reply.reason}{seen}")
        return reply

    async def _receive_reply(self) -> Reply | ReplyFault:
        while True:
            octets = await self.stream.read()
            if not octets:
                raise ConnectionFailed("the host closed the connection")
            self._parser.receive(octets)
            reply = self._parser.next_reply()
            if reply is not None:
                return reply

    async def last_words(self) -> Reply | None:
        """What the host still said before the connection ended; None when that is no whole reply."""
        try:
            reply = await self.read_reply(LAST_WORDS_S, "last words")
        except Gone:
            return None
        return reply

    async def write(self, octets: bytes, timeout_s: float, what: str) -> None:
        """Write within a time. Raises `Gone`."""
        if self.transcript is not None:
            self._note_written(octets, what)
        await self.within(timeout_s, self.stream.write(octets), f"room to write {what}")

    def _note_written(self, octets: bytes, what: str) -> None:
        """Commands as they are; of content and passwords only that there was some."""
        assert self.transcript is not None
        if what == CONTENT:
            self.transcript.happened(f"({len(octets)} octets of content)")
        elif what == AUTH:
            self.transcript.happened("(AUTH, not shown)")
        else:
            self.transcript.said(octets)

    async def within(self, timeout_s: float, awaitable: Awaitable[T], what: str) -> T:
        """The result, or `Gone` when time is over or the connection is. `TlsFailed` passes."""
        self._set_deadline(timeout_s)
        try:
            return await awaitable
        except (ConnectionFailed, TlsFailed) as failed:
            if self._is_late:
                raise Gone(f"no progress within {timeout_s:g} s while waiting for {what}") from failed
            if isinstance(failed, TlsFailed):
                raise
            raise Gone(f"the connection broke while waiting for {what}: {failed}") from failed
        finally:
            self._deadline = None

    def _set_deadline(self, timeout_s: float) -> None:
        self._deadline = self._clock.monotonic() + timeout_s
        if self._timer is not None:
            if self._fires_at <= self._deadline:
                return
            self._timer.cancel()
        self._set_timer(timeout_s)

    def _set_timer(self, delay_s: float) -> None:
        self._fires_at = self._clock.monotonic() + delay_s
        self._timer = self._clock.call_later(delay_s, self._look)

    def _look(self) -> None:
        """The timer: it may have been set for a wait that is long over."""
        self._timer = None
        if self._deadline is None:
            return
        left_s = self._deadline - self._clock.monotonic()
        if left_s > _INSTANT_S:
            self._set_timer(left_s)
        else:
            self._is_late = True
            self.stream.abort()

    def _end_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
