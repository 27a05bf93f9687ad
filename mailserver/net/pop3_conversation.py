"""One POP3 connection: the machine and the session of POP3 on the driver of `conversation`."""

from collections.abc import Awaitable

from mailserver.mail.pop3_reply import PieceSource, Pop3Reply
from mailserver.net.conversation import Conversation
from mailserver.net.deadlines import TimedOut
from mailserver.ports import Answer, Then
from mailserver.session.pop3_server import Pop3Session
from mailserver.wire.pop3_server import Pop3Server


class Pop3Conversation(Conversation):
    """Streams what is too large to be held whole; a large message never waits in memory for a slow client."""

    _machine: Pop3Server
    _session: Pop3Session

    def _greet(self) -> None:
        self._answer(self._session.greet(), self._machine.greet)

    def _next(self) -> bool:
        event = self._machine.next_event()
        if event is None:
            return False
        at_once = self._session.answer_at_once(event)
        if at_once is None:
            self._answer(self._answer_and_stream(self._session.answer(event)), bytes)
        elif at_once.reply.pieces is None:
            self._answer_at_once(at_once, self._machine.reply)
        else:
            self._answer(self._answer_and_stream(_ready(at_once)), bytes)
        return True

    async def _answer_and_stream(self, waiting: Awaitable[Answer[Pop3Reply]]) -> Answer[bytes]:
        """The octets of the answer; a body in pieces has been written when this returns."""
        answer = await waiting
        octets = self._machine.reply(answer.reply)
        if answer.reply.pieces is None:
            return Answer(octets, answer.then, answer.why)
        self._out.append(octets)
        self._flush()
        return Answer(b"", await self._stream(answer.reply.pieces, answer.then), answer.why)

    async def _stream(self, source: PieceSource, then: Then) -> Then:
        """Write piece after piece, each when the client took most of those before."""
        try:
            while not self._is_gone and (piece := await source.next_piece()):
                if self._is_gone:
                    break
                self._write(piece)
                await self._writable()
                # A source that needs no disk and a client that takes all would leave nobody else a turn.
                await self._clock.sleep(0)
        except BaseException:
            # A response that was begun cannot be completed; the client must not take the half for the whole.
            self.abort()
            raise
        finally:
            source.close()
        return then

    def _farewell(self, why: TimedOut | None) -> bytes:
        reply = self._session.shutting_down() if why is None else self._session.timed_out()
        return b"" if reply is None else reply.encode()

    def _broken(self) -> bytes:
        return self._session.broken().encode()


async def _ready(answer: Answer[Pop3Reply]) -> Answer[Pop3Reply]:
    """An answer that is there already, for whoever awaits one."""
    return answer
