"""POP3 on a large mailbox: login and STAT, LIST and UIDL, RETR one at a time and pipelined.

Both servers read a copy of the same Maildir. A login is *cold* when the server has never seen the mailbox: all messages
in `new`, no index of any kind, ours freshly started. It is *warm* when nothing has changed in the mailbox since an
earlier login. Both servers distrust a folder that changed in the last seconds, and look through it once more; so the
warm login that is measured comes after one that found the mailbox quiet, as the second poll of a client does. The page
cache is warm always.
"""

import os
import shutil
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.measure import median

LOGIN, PASSWORD = "joe@example.test", "secret"
TIMEOUT_S = 60.0
QUIET_S = 2.2


@dataclass(frozen=True, slots=True)
class Pop3Server:
    """A running server; `renew` makes the mailbox anew, so that the next login is a cold one."""

    name: str
    port: Callable[[], int]
    renew: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Figures:
    """Medians over the rounds."""

    cold_login_ms: float
    warm_login_ms: float
    list_uidl_ms: float
    retr_one_by_one_per_s: float
    retr_pipelined_per_s: float


def fill(maildir: Path, count: int, *, sizes_in_names: bool = True, length_octets: int = 4096) -> None:
    """Make a Maildir with `count` messages in `new`, named as this server names them, or as programs do that know
    nothing of sizes in names."""
    for part in ("tmp", "new", "cur"):
        (maildir / part).mkdir(parents=True)
    line = b"x" * 77 + b"\n"
    for number in range(count):
        header = b"From: ann@load.test\nTo: joe@example.test\nSubject: message %d\n\n" % number
        content = header + line * ((length_octets - len(header)) // len(line))
        size, lines = len(content), content.count(b"\n")
        name = f"{1_750_000_000 + number}.M{number % 1_000_000:06d}P1Q{number}.host"
        if sizes_in_names:
            name += f",S={size},W={size + lines}"
        (maildir / "new" / name).write_bytes(content)


def fill_with_names(maildir: Path, count: int) -> None:
    """The same for very many messages that nobody reads: few files, each with many names (ext4 allows 65,000)."""
    for part in ("tmp", "new", "cur"):
        (maildir / part).mkdir(parents=True)
    content, new = b"Subject: one of many\n\n" + b"x" * 77 + b"\n", maildir / "new"
    size, lines = len(content), content.count(b"\n")
    for number in range(count):
        name = f"{1_750_000_000 + number}.M{number % 1_000_000:06d}P1Q{number}.host,S={size},W={size + lines}"
        if number % 50_000 == 0:
            first = new / name
            first.write_bytes(content)
        else:
            os.link(first, f"{new}/{name}")


def copy(source: Path, target: Path) -> None:
    """A copy whose files are links to the same contents, so that both servers read the same cached pages."""
    shutil.copytree(source, target, copy_function=os.link)


class Client:
    """The leanest possible POP3 client, so that the server is what is measured."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._line()

    def _line(self) -> bytes:
        reply = self.socket.recv(65536)
        while not reply.endswith(b"\r\n"):
            reply += self.socket.recv(65536)
        if not reply.startswith(b"+OK"):
            raise RuntimeError(f"the server said {reply!r}")
        return reply

    def command(self, line: bytes) -> bytes:
        """One command with a reply of one line."""
        self.socket.sendall(line + b"\r\n")
        return self._line()

    def multiline(self, line: bytes) -> int:
        """One command with a long reply; the octets of it."""
        self.socket.sendall(line + b"\r\n")
        received, tail = 0, b""
        while tail != b"\r\n.\r\n":
            piece = self.socket.recv(1 << 20)
            if not piece:
                raise RuntimeError("the server hung up")
            received += len(piece)
            tail = (tail + piece)[-5:]
        return received

    def pipelined(self, lines: Sequence[bytes], expected_octets: int) -> None:
        """Many commands at once; returns when `expected_octets` came back."""
        self.socket.sendall(b"".join(line + b"\r\n" for line in lines))
        received = 0
        while received < expected_octets:
            piece = self.socket.recv(1 << 20)
            if not piece:
                raise RuntimeError("the server hung up")
            received += len(piece)

    def login_and_stat(self, login: str = LOGIN) -> bytes:
        """USER, PASS, STAT, each waiting for the reply before."""
        self.command(b"USER " + login.encode())
        self.command(b"PASS " + PASSWORD.encode())
        return self.command(b"STAT")

    def close(self) -> None:
        """QUIT, and wait until the server has hung up, so that the maildrop is free again."""
        self.command(b"QUIT")
        while self.socket.recv(4096):
            pass
        self.socket.close()


def one_round(server: Pop3Server, count: int, retrieved: int) -> Figures:
    """A cold login, a warm one, and what a client does after it."""
    server.renew()
    cold_ms, client = _timed_login(server, count)
    client.close()
    time.sleep(QUIET_S)
    _timed_login(server, count)[1].close()
    warm_ms, client = _timed_login(server, count)
    began = time.perf_counter()
    client.multiline(b"LIST")
    client.multiline(b"UIDL")
    list_ms = (time.perf_counter() - began) * 1e3

    numbers = range(1, retrieved + 1)
    began = time.perf_counter()
    octets = [client.multiline(b"RETR %d" % number) for number in numbers]
    one_by_one = retrieved / (time.perf_counter() - began)
    began = time.perf_counter()
    batch = 100
    for first in range(0, retrieved, batch):
        lines = [b"RETR %d" % number for number in numbers[first : first + batch]]
        client.pipelined(lines, sum(octets[first : first + batch]))
    pipelined = retrieved / (time.perf_counter() - began)
    client.close()
    return Figures(cold_ms, warm_ms, list_ms, one_by_one, pipelined)


def _timed_login(server: Pop3Server, count: int) -> tuple[float, Client]:
    client = Client(server.port())
    began = time.perf_counter()
    said = client.login_and_stat()
    took_ms = (time.perf_counter() - began) * 1e3
    if int(said.split()[1]) != count:
        raise RuntimeError(f"{server.name} should have {count} messages and says {said!r}")
    return took_ms, client


def measure(servers: Sequence[Pop3Server], count: int, retrieved: int, rounds: int) -> dict[str, dict]:
    """Medians by server; rounds are interleaved."""
    samples: dict[str, list[Figures]] = {server.name: [] for server in servers}
    for _ in range(rounds):
        for server in servers:
            samples[server.name].append(one_round(server, count, retrieved))
    return {name: asdict(_medians(figures)) for name, figures in samples.items()}


def _medians(figures: Sequence[Figures]) -> Figures:
    return Figures(*(median([getattr(one, name) for one in figures]) for name in Figures.__dataclass_fields__))
