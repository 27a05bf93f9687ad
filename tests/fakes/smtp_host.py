"""A next hop on a real port of loopback that does what a test tells it.

`SmtpHost(reactor, ...)` listens at once; `messages` holds what it took, `lines` every command it heard. Behavior:
`answers` maps a verb (`BANNER`, `EHLO`, `MAIL`, ..., `EOD`) to a reply, to `DROP` (close) or to `MUTE` (say nothing
more); a list is used up one by one, and then the usual reply comes.
"""

import base64
from dataclasses import dataclass, field

from twisted.internet.protocol import Factory, Protocol

DROP, MUTE = "drop", "mute"
USUAL = {
    "BANNER": b"220 host.test ESMTP\r\n",
    "HELO": b"250 host.test\r\n",
    "STARTTLS": b"220 go\r\n",
    "AUTH": b"235 2.7.0 welcome\r\n",
    "DATA": b"354 go ahead\r\n",
    "EOD": b"250 2.0.0 taken\r\n",
    "QUIT": b"221 bye\r\n",
}


@dataclass
class Message:
    sender: str = ""
    recipients: list = field(default_factory=list)
    content: bytes = b""
    is_tls: bool = False


class SmtpHost:
    """A listening host. `tls` is a server's connection creator; with `implicit` it comes before the banner."""

    def __init__(self, reactor, *, interface="127.0.0.1", port=0, tls=None, implicit=False, answers=None, login=None,
                 offers=("PIPELINING", "8BITMIME", "SIZE")):  # fmt: skip
        self.tls, self.implicit, self.login, self.offers = tls, implicit, login, list(offers)
        self.answers = {verb: list(a) if isinstance(a, list) else a for verb, a in (answers or {}).items()}
        self.messages, self.lines, self.connections = [], [], []
        factory = Factory.forProtocol(lambda: _Session(self))
        factory.noisy = False
        self.listener = reactor.listenTCP(port, factory, interface=interface)
        self.port = self.listener.getHost().port

    @property
    def is_to_be_mute(self):
        return MUTE in self.answers.values()

    @property
    def is_mute(self):
        """Whether it has been asked what it keeps silent about."""
        return any(connection.is_mute for connection in self.connections)

    def answer(self, verb):
        told = self.answers.get(verb)
        if isinstance(told, list):
            told = told.pop(0) if told else None
        return told or USUAL.get(verb, b"250 ok\r\n")

    def stop(self):
        for connection in self.connections:
            connection.transport.abortConnection()
        return self.listener.stopListening()


class _Session(Protocol):
    def __init__(self, host):
        self.host = host
        self.buffer = bytearray()
        self.searched = 0
        self.in_content = False
        self.is_tls = False
        self.is_mute = False
        self.is_lost = False
        self.message = Message()

    def connectionMade(self):
        self.host.connections.append(self)
        self.transport.setTcpNoDelay(True)
        if self.host.implicit:
            self.transport.startTLS(self.host.tls)
            self.is_tls = True
        self._say("BANNER")

    def connectionLost(self, reason):
        self.is_lost = True

    def dataReceived(self, data):
        self.buffer += data
        while not self.is_mute and self.transport.connected and self._step():
            pass

    def _step(self):
        end = b"\r\n.\r\n" if self.in_content else b"\r\n"
        # An empty content is a dot right behind DATA.
        is_empty = self.in_content and self.buffer.startswith(b".\r\n")
        stop = 0 if is_empty else self.buffer.find(end, max(0, self.searched - len(end)))
        self.searched = len(self.buffer) if stop < 0 else 0
        if stop < 0:
            return False
        if self.in_content:
            content = b"" if is_empty else bytes(self.buffer[: stop + 2])
            del self.buffer[: stop + (3 if is_empty else 5)]
            self.in_content = False
            self.message.content = (b"\r\n" + content).replace(b"\r\n.", b"\r\n")[2:]
            if self._say("EOD").startswith(b"2"):
                self.host.messages.append(self.message)
            self.message = Message()
            return True
        line = bytes(self.buffer[:stop])
        del self.buffer[: stop + 2]
        self._command(line)
        return True

    def _command(self, line):
        self.host.lines.append(line.decode())
        verb = line[:4].decode().upper()
        if verb == "EHLO":
            self._ehlo()
        elif verb == "STAR":
            if self._say("STARTTLS").startswith(b"2"):
                self.transport.startTLS(self.host.tls)
                self.is_tls = True
        elif verb == "AUTH":
            wanted = base64.b64encode("\0{}\0{}".format(*self.host.login).encode()).decode()
            is_right = line.decode() == f"AUTH PLAIN {wanted}"
            self._say("AUTH") if is_right else self.transport.write(b"535 5.7.8 wrong\r\n")
        elif verb == "DATA":
            self.in_content = self._say("DATA").startswith(b"3")
        else:
            said = self._say(verb)
            if verb == "MAIL":
                self.message = Message(line[10:].decode(), [], b"", self.is_tls)
            elif verb == "RCPT" and said.startswith(b"2"):
                self.message.recipients.append(line[8:].decode())
            elif verb == "QUIT":
                self.transport.loseConnection()

    def _ehlo(self):
        if "EHLO" in self.host.answers:
            self._say("EHLO")
            return
        offers = ["host.test", *self.host.offers]
        offers += ["STARTTLS"] if self.host.tls and not self.is_tls else []
        offers += ["AUTH PLAIN"] if self.host.login and (self.is_tls or not self.host.tls) else []
        last = len(offers) - 1
        self.transport.write(b"".join(f"250{' ' if n == last else '-'}{o}\r\n".encode() for n, o in enumerate(offers)))

    def _say(self, verb):
        answer = self.host.answer(verb)
        if answer == DROP:
            self.transport.abortConnection()
            return b""
        if answer == MUTE:
            self.is_mute = True
            return b""
        self.transport.write(answer)
        return answer
