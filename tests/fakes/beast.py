"""A next hop in memory that misbehaves: a `Stream` that reacts to what it is told, on a clock that a test moves.

A `Beast` answers each verb (BANNER, EHLO, HELO, STARTTLS, MAIL, RCPT, DATA, EOD, RSET, QUIT) with what its table says,
else as a good host does. An answer is octets, an `Act`, a `Wait`, a tuple of these, or a function of session and line
that gives one. `taken` are the messages for which it said 2yz at the end, `seen` all whose end it saw.
"""

from collections import deque
from dataclasses import dataclass, field
from enum import Enum

from twisted.internet.defer import Deferred

from mailserver.ports import ConnectionFailed, TlsDetails, TlsFailed

GOOD = {
    "BANNER": b"220 beast ESMTP\r\n",
    "HELO": b"250 beast\r\n",
    "DATA": b"354 go ahead\r\n",
    "EOD": b"250 2.0.0 taken\r\n",
    "QUIT": b"221 2.0.0 bye\r\n",
    "STARTTLS": b"220 go\r\n",
}
OFFERS = ("PIPELINING", "8BITMIME", "SIZE 50000000", "ENHANCEDSTATUSCODES")


class Act(Enum):
    CLOSE = "the stream ends"
    RESET = "the connection is reset"
    MUTE = "it never says anything again, and reads on"
    STUCK = "it never reads again"


@dataclass(frozen=True)
class Wait:
    seconds: float


def drip(octets, gap_s):
    """One octet at a time."""
    return tuple(step for octet in octets for step in (Wait(gap_s), bytes([octet])))


@dataclass
class Mail:
    sender: str = ""
    recipients: list = field(default_factory=list)
    content: bytes = b""


class Beast:
    """`wild` connections behave by the table, later ones are good; `handshakes` are True or False, in order."""

    def __init__(self, *, offers=OFFERS, wild=1_000_000, handshakes=(), refuses=0, **answers):
        self.offers, self.wild, self.answers = offers, wild, answers
        self.handshakes = list(handshakes)
        self.refuses = refuses
        self.connections = 0
        self.lines, self.seen, self.taken = [], [], []
        self.streams = []

    def connect(self, clock):
        self.connections += 1
        if self.connections <= self.refuses:
            raise ConnectionFailed("the connection was refused")
        self.streams.append(BeastStream(self, clock, is_wild=self.connections <= self.wild))
        return self.streams[-1]


class BeastDialer:
    """`mailserver.ports.Dialer`: addresses and their beasts."""

    def __init__(self, clock, beasts):
        self.clock, self.beasts = clock, beasts
        self.dialed = []

    async def dial(self, address, port, *, timeout_s):
        self.dialed.append(str(address))
        if str(address) not in self.beasts:
            raise ConnectionFailed("the connection was refused")
        return self.beasts[str(address)].connect(self.clock)


class BeastStream:
    """One connection, both sides of it."""

    def __init__(self, beast, clock, *, is_wild):
        self.peer = "198.51.100.1:25"
        self.beast, self.clock, self.is_wild = beast, clock, is_wild
        self.is_tls = self.is_over = self.is_muted = self.is_stuck = self.is_in_content = False
        self.is_listening = False
        self.mail = Mail()
        self._input = b""
        self._output = deque()
        self._speech = deque()
        self._pause = None
        self._reader = None
        self._stuck = None
        self._say("BANNER")

    # --- the client's side --------------------------------------------------------------------------------------------

    async def read(self):
        while True:
            if self._output:
                step = self._output[0]
                if isinstance(step, bytes):
                    return self._output.popleft()
                if step is Act.CLOSE:
                    return b""
                raise ConnectionFailed("the connection was lost")
            if self.is_over:
                raise ConnectionFailed("the connection was given up")
            self._reader = Deferred()
            await self._reader

    async def write(self, octets):
        if self.is_over or Act.RESET in self._output:
            raise ConnectionFailed("the connection was lost")
        if self.is_stuck:
            self._stuck = Deferred()
            await self._stuck
        self._input += octets
        self._listen()

    async def start_tls(self, requirement):
        is_good = self.beast.handshakes.pop(0) if self.beast.handshakes else True
        if is_good is None:
            self._reader = Deferred()
            await self._reader
            raise ConnectionFailed("the connection was given up")
        if self._output:
            raise TlsFailed("octets came before the handshake")
        if not is_good:
            raise TlsFailed("no shared cipher")
        self.is_tls = True
        return TlsDetails("TLSv1.3", "TLS_AES_256_GCM_SHA384")

    def close(self):
        self._end()

    def abort(self):
        self._end()

    def _end(self):
        self.is_over = True
        if self._pause is not None:
            self._pause.cancel()
        self._wake()
        if self._stuck is not None:
            stuck, self._stuck = self._stuck, None
            stuck.errback(ConnectionFailed("the connection was given up"))

    def _wake(self):
        if self._reader is not None:
            reader, self._reader = self._reader, None
            reader.callback(None)

    # --- the beast's side ---------------------------------------------------------------------------------------------

    def _listen(self):
        # What it says may make the client write at once; that is heard when this step is over.
        if not self.is_listening:
            self.is_listening = True
            while not self.is_muted and not self._speech and self._pause is None and self._step():
                pass
            self.is_listening = False

    def _step(self):
        if self.is_in_content:
            return self._content()
        line, found, rest = self._input.partition(b"\r\n")
        if not found:
            return False
        self._input = rest
        text = line.decode("utf-8", "replace")
        self.beast.lines.append(text)
        verb = text.split(" ")[0].split(":")[0].upper()
        if verb == "MAIL":
            self.mail = Mail(text[10:])
        said = self._say(verb, text)
        if verb == "RCPT" and said.startswith(b"2"):
            self.mail.recipients.append(text[8:].partition(" ")[0])
        elif verb == "DATA":
            self.is_in_content = said.startswith(b"3")
        elif verb == "QUIT":
            self._speak(Act.CLOSE)
        return True

    def _content(self):
        body = b"\r\n" + self._input
        content, found, rest = body.partition(b"\r\n.\r\n")
        if not found:
            return False
        self._input, self.is_in_content = rest, False
        self.mail.content = (content + b"\r\n").replace(b"\r\n.", b"\r\n")[2:]
        self.beast.seen.append(self.mail)
        if self._say("EOD").startswith(b"2"):
            self.beast.taken.append(self.mail)
        return True

    def _say(self, verb, line=""):
        answer = self.beast.answers.get(verb) if self.is_wild else None
        if callable(answer):
            answer = answer(self, line)
        if answer is None:
            answer = self._ehlo() if verb == "EHLO" else GOOD.get(verb, b"250 2.0.0 ok\r\n")
        steps = answer if isinstance(answer, tuple) else (answer,)
        self._speak(*steps)
        return b"".join(step for step in steps if isinstance(step, bytes))

    def _ehlo(self):
        offers = ["beast", *self.beast.offers]
        if self.is_tls:
            offers = [one for one in offers if one != "STARTTLS"]
        last = len(offers) - 1
        return b"".join(f"250{' ' if n == last else '-'}{one}\r\n".encode() for n, one in enumerate(offers))

    def _speak(self, *steps):
        self._speech.extend(steps)
        self._talk()

    def _talk(self):
        while self._speech and self._pause is None:
            step = self._speech.popleft()
            if isinstance(step, Wait):
                self._pause = self.clock.call_later(step.seconds, self._go_on)
            elif step is Act.MUTE:
                self.is_muted = True
            elif step is Act.STUCK:
                self.is_stuck = True
            else:
                self._output.append(step)
                self.is_muted = self.is_muted or isinstance(step, Act)
                self._wake()

    def _go_on(self):
        self._pause = None
        self.is_listening = True
        self._talk()
        self.is_listening = False
        self._listen()
