"""Runs the SMTP server machine with fixed replies, so that tests see events and octets only."""

import itertools

from mailserver.mail.reply import reply
from mailserver.wire.sasl import Challenge
from mailserver.wire.smtp_events import Auth, Content, Data, Faulted, InjectedOctets, Quit, SmtpEvent, StartTls
from mailserver.wire.smtp_server import SmtpServer

OK = reply(250, "2.0.0", "ok")


def fixed_reply(event: SmtpEvent):
    """What a session with no opinion says."""
    match event:
        case Faulted(_, answer):
            return answer
        case Data():
            return reply(354, "", "go")
        case Auth(_, Challenge()):
            return reply(334, "", "")
        case Auth():
            return reply(235, "2.7.0", "ok")
        case StartTls():
            return reply(220, "2.0.0", "go")
        case Quit():
            return reply(221, "2.0.0", "bye")
        case InjectedOctets():
            return reply(421, "4.7.0", "no")
    return OK


class Run:
    """A machine after its banner, what it told, and what it sent."""

    def __init__(self, *, max_content_octets=10**6, answer=fixed_reply):
        self.machine = SmtpServer(max_content_octets=max_content_octets)
        self.machine.greet(reply(220, "", "mail.example.test ESMTP"))
        self.events: list[SmtpEvent] = []
        self.sent = b""
        self._answer = answer

    def feed(self, *segments: bytes) -> "Run":
        """Octets as they arrive; after each segment everything that can be answered is."""
        for segment in segments:
            self.machine.receive(segment)
            while (event := self.machine.next_event()) is not None:
                self.events.append(event)
                if not isinstance(event, Content):
                    self.sent += self.machine.reply(self._answer(event))
        return self

    def feed_cut(self, octets: bytes, cuts) -> "Run":
        """The same octets, cut at these places."""
        places = sorted({0, len(octets), *(cut % (len(octets) + 1) for cut in cuts)})
        return self.feed(*(octets[a:b] for a, b in itertools.pairwise(places)))

    @property
    def told(self) -> list[SmtpEvent]:
        """The events without content."""
        return [event for event in self.events if not isinstance(event, Content)]

    @property
    def content(self) -> bytes:
        """All content, put together."""
        return b"".join(event.octets for event in self.events if isinstance(event, Content))

    @property
    def codes(self) -> list[int]:
        """The codes of the replies."""
        return [int(line[:3]) for line in self.sent.split(b"\r\n") if line]
