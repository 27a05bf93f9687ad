"""The least that a server on Twisted can do and still keep the promise: every message synced, file and folder.

It understands nothing. Each line is answered by the next of seven fixed replies, content ends at CRLF.CRLF, and one
thread files all that wait: write, sync, rename, one sync of the folder. No rule, no trace field, no log, no limit, no
error. What lies between it and our server is what mail takes; what lies between it and the others is what Twisted,
Python and the kernel take.

python -m bench.skeleton PORT MAILDIR
"""

import os
import sys
import threading
from collections import deque
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol

from mailserver.net.sending import send

_GREETING = b"220 skeleton\r\n"
_OK = b"250 OK\r\n"
_ANSWERS = {b"DATA": b"354 Go on\r\n", b"QUIT": b"221 Bye\r\n"}
_END = b"\r\n.\r\n"


class Filer:
    """One thread that takes all that wait, files them with shared syncs, and answers all."""

    def __init__(self, maildir: Path) -> None:
        self._maildir = maildir
        self._waiting: deque[tuple[Session, bytes]] = deque()
        self._awake = threading.Condition()
        self._count = 0
        for part in ("tmp", "new", "cur"):
            (maildir / part).mkdir(parents=True, exist_ok=True)

    def take(self, session: "Session", content: bytes) -> None:
        """In the reactor's thread."""
        with self._awake:
            self._waiting.append((session, content))
            self._awake.notify()

    def work(self) -> None:
        """For ever."""
        while True:
            with self._awake:
                while not self._waiting:
                    self._awake.wait()
                group = [self._waiting.popleft() for _ in range(min(64, len(self._waiting)))]
            opened = []
            for _, content in group:
                self._count += 1
                name = f"{self._count}.P{os.getpid()}.host"
                descriptor = os.open(f"{self._maildir}/tmp/{name}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
                os.write(descriptor, content.replace(b"\r\n", b"\n"))
                opened.append((descriptor, name))
            for descriptor, name in opened:
                os.fsync(descriptor)
                os.close(descriptor)
                os.rename(f"{self._maildir}/tmp/{name}", f"{self._maildir}/new/{name}")
            folder = os.open(self._maildir / "new", os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
            reactor.callFromThread(_answer, [session for session, _ in group])


def _answer(sessions: list["Session"]) -> None:
    for session in sessions:
        session.filed()


class Session(Protocol):
    """One connection; commands come one at a time, as `smtp-source` sends them."""

    def connectionMade(self) -> None:
        """Greet."""
        self.transport.setTcpNoDelay(True)
        self._content = b""
        self._is_in_content = False
        send(self.transport, _GREETING)

    def dataReceived(self, data: bytes) -> None:
        """A command, or a part of the content."""
        if self._is_in_content:
            self._content += data
            if self._content.endswith(_END):
                content, self._content, self._is_in_content = self._content[:-3], b"", False
                self.factory.filer.take(self, content)
            return
        verb = data[:4]
        send(self.transport, _ANSWERS.get(verb, _OK))
        if verb == b"DATA":
            self._is_in_content = True
        elif verb == b"QUIT":
            self.transport.loseConnection()

    def filed(self) -> None:
        """It is on disk."""
        if self.connected:
            send(self.transport, _OK)


def serve(port: int, maildir: Path) -> None:
    """Until the process is killed."""
    factory = Factory.forProtocol(Session)
    factory.noisy = False
    factory.filer = Filer(maildir)
    threading.Thread(target=factory.filer.work, daemon=True).start()
    reactor.listenTCP(port, factory, backlog=512, interface="127.0.0.1")
    reactor.run()


if __name__ == "__main__":
    serve(int(sys.argv[1]), Path(sys.argv[2]))
