"""One SMTP connection, port 25 or submission: the machine and the session of SMTP on the driver of `conversation`."""

from typing import assert_never

from mailserver.mail import reply as replies
from mailserver.mail.reply import Reply
from mailserver.net.conversation import Conversation
from mailserver.net.deadlines import TimedOut
from mailserver.ports import Answer
from mailserver.session.smtp_server import SmtpSession
from mailserver.wire.smtp_events import Content
from mailserver.wire.smtp_server import SmtpServer, State

# Large contents are read in pieces of this size: fewer calls, fewer hand-overs to the disk (docs/performance.md).
_LARGE_READ_OCTETS = 256 << 10
# Of one content so much may be in memory; and below this it is not counted.
_MAX_HELD_OCTETS = 512 << 10
_MIN_HELD_OCTETS = 16 << 10
_WITH_CONTENT = frozenset({State.CONTENT, State.CHUNK, State.CHUNKS})


class SmtpConversation(Conversation):
    """Content goes to the session without an answer in between; everything else is one event, one reply."""

    _machine: SmtpServer
    _session: SmtpSession
    _has_large_reads = False
    _held_octets = 0

    def _greet(self) -> None:
        self._answer(self._session.greet(), self._machine.greet)

    def _next(self) -> bool:
        event = self._machine.next_event()
        if event is None:
            return False
        if isinstance(event, Content):
            self._take(event)
            return True
        if self._held_octets:
            self._note_held()
        at_once = self._session.answer_at_once(event)
        if at_once is None:
            self._answer(self._session.answer(event), self._machine.reply)
        else:
            self._answer_at_once(at_once, self._machine.reply)
        return True

    def _take(self, content: Content) -> None:
        waiting = self._session.content(content)
        if self._machine.content_octets >= _MIN_HELD_OCTETS and self._held_octets < _MAX_HELD_OCTETS:
            self._note_held()
        if not self._has_large_reads and self._machine.content_octets > _LARGE_READ_OCTETS:
            self._has_large_reads = True
            # Twisted's TCP transport reads this much at a time; other transports do not look at it.
            self.transport.bufferSize = _LARGE_READ_OCTETS
        if waiting is not None:
            self._wait_for(waiting)

    def _answered(self, answer: Answer[Reply]) -> None:
        super()._answered(answer)
        if self._held_octets:
            self._note_held()

    def _note_held(self) -> None:
        """Tell how much content is in memory."""
        is_held = self._machine.state in _WITH_CONTENT and not self._is_gone
        octets = min(self._machine.content_octets, _MAX_HELD_OCTETS) if is_held else 0
        if octets != self._held_octets:
            self._held_octets = octets
            self._membership.holds(self, octets)

    def _farewell(self, why: TimedOut | None) -> bytes:
        return self._last_reply(why).encode()

    def _last_reply(self, why: TimedOut | None) -> Reply:
        match why:
            case None:
                return self._session.shutting_down()
            case TimedOut.COMMAND | TimedOut.HANDSHAKE | TimedOut.WRITE:
                return self._session.command_timed_out()
            case TimedOut.SILENCE | TimedOut.CONTENT:
                return self._session.content_timed_out()
            case TimedOut.RATE:
                return self._session.content_too_slow()
        assert_never(why)

    def _broken(self) -> bytes:
        return replies.INTERNAL_ERROR.encode()

    def _is_in_content(self) -> bool:
        return self._machine.is_in_content

    def _content_octets(self) -> int:
        return self._machine.content_octets
