"""What an attacked server must still do, and how that is measured."""

import smtplib
import socket
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.integration.server import ALICE, HOST, LIMIT_S, Server, wait_until

# Legitimate mail from elsewhere is accepted within this time, whatever strangers do meanwhile.
ACCEPTED_WITHIN_S = 2.0
# The process never takes more (docs/security.md, "Load"). At rest it has about 60 MiB.
MAX_RSS_OCTETS = 256 << 20
# Lines of the log that strangers make in a minute: three kinds, 300 of each, and what they are folded to.
MAX_LOG_LINES = 1_000
# What is written for each message, whoever sends it.
_OURS = (" accepted [", " filed ", " queued ", " deferred ")
FRIEND = "127.0.1.1"
LETTER = b"Subject: hello\r\n\r\nIt works.\r\n"

# Every address of 127.0.0.0/8 is a client of its own here; nobody is exempt, and memory is not spent on threads.
SETTINGS = {
    "smtp": {"max_connections_per_client": 20, "command_timeout": "1m"},
    "submission": {"auth_without_tls": "always"},
    "pop3": {"auth_without_tls": "always"},
}


def attackers(count: int) -> list[str]:
    """127.0.0.2 and the addresses behind it."""
    return [f"127.0.{2 + number // 250}.{1 + number % 250}" for number in range(count)]


def rss_octets(pid: int) -> int:
    """What the process has in memory now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096


def cpu_s(pid: int) -> float:
    """Seconds of processor the process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def send(server: Server, source: str = FRIEND, recipient: str = ALICE, letter: bytes = LETTER) -> float:
    """A letter from an address of its own; the seconds it took. An exception when it was not accepted."""
    began = time.monotonic()
    with smtplib.SMTP(HOST, server.ports["smtp"], timeout=LIMIT_S, source_address=(source, 0)) as client:
        client.sendmail("stranger@outside.example", [recipient], letter)
    return time.monotonic() - began


class Watch:
    """Sends letters during an attack and keeps the worst of everything. Use `ok` again and again."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.slowest_s = 0.0
        self.rss = rss_octets(server.pid)
        self.sent = 0
        self._began = time.monotonic()
        self._lines = self._count()
        self._filed = len(server.messages(ALICE))

    def ok(self) -> None:
        """One letter, accepted in time, and memory within its bound."""
        took = send(self.server, f"127.0.1.{1 + self.sent % 200}")
        self.sent += 1
        self.slowest_s = max(self.slowest_s, took)
        assert took <= ACCEPTED_WITHIN_S, f"a letter took {took:.2f} s"
        self.look()

    def look(self) -> None:
        """Memory within its bound."""
        self.rss = max(self.rss, rss_octets(self.server.pid))
        assert self.rss <= MAX_RSS_OCTETS, f"{self.rss >> 20} MiB in memory"

    def _count(self) -> int:
        return sum(not any(word in line for word in _OURS) for line in self.server.log.splitlines())

    @property
    def lines(self) -> int:
        """Lines that strangers made since the watch began."""
        return self._count() - self._lines

    def done(self, what: str) -> None:
        """After the attack: everything that was accepted is there, the log is bounded, and all is normal again."""
        self.ok()
        assert len(self.server.messages(ALICE)) - self._filed == self.sent
        minutes = 1 + (time.monotonic() - self._began) / 60
        lines = self.lines
        assert lines <= MAX_LOG_LINES * minutes, f"{lines} lines"
        assert "Traceback" not in self.server.log
        print(f"\n{what}: slowest letter {self.slowest_s:.2f} s, {self.rss >> 20} MiB, {lines} log lines")


@contextmanager
def attacked(folder: Path, settings=None, what: str = ""):
    """A server, and a watch over it; what is normal is checked at the end."""
    merged = {key: {**SETTINGS.get(key, {}), **(settings or {}).get(key, {})} for key in {*SETTINGS, *(settings or {})}}
    with Server(folder, merged) as server:
        send(server)
        watch = Watch(server)
        yield watch
        wait_until(lambda: is_quiet(server.pid), "the process being at rest")
        watch.done(what)


def is_quiet(pid: int) -> bool:
    """Whether the process does nothing for a moment."""
    before, began = cpu_s(pid), time.monotonic()
    wait_until(lambda: time.monotonic() - began > 0.2, "a moment")
    return cpu_s(pid) - before < 0.1


class Crowd:
    """Sockets of an attacker; non-blocking, never read unless asked. All are closed at the end."""

    def __init__(self) -> None:
        self.sockets = []

    def __enter__(self):
        return self

    def __exit__(self, *details):
        for one in self.sockets:
            one.close()

    def connect(self, port: int, source: str, octets: bytes = b"", *, receives: int = 0):
        """One more connection, that begins with `octets`. It does not wait for anything."""
        one = socket.socket()
        if receives:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives)
        one.settimeout(LIMIT_S)
        one.bind((source, 0))
        one.connect((HOST, port))
        one.setblocking(False)
        self.sockets.append(one)
        if octets:
            with suppress(OSError):
                one.send(octets)
        return one
