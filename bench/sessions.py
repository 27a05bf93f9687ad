"""How many sessions a second: POP3 logins in clear and by TLS, STARTTLS handshakes, and STARTTLS with one message.

The clients are several processes that do one thing after the other with the `ssl` module, the same for every server.
No session is resumed, no certificate is checked, and all certificates have P-256 keys.
"""

import multiprocessing
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from bench import servers
from bench.mailboxes import MailboxServer, logins
from bench.measure import cpu_seconds, median
from bench.pop3 import PASSWORD, TIMEOUT_S, fill
from tests.peers.certificates import Authority
from tests.peers.postfix import Postfix

_PROCESSES = 6
ACCOUNTS = logins(_PROCESSES)
_LOGINS, _HANDSHAKES, _MESSAGES = 50, 60, 40  # of each process in one round
_CONTENT = b"Subject: load\r\n\r\n" + (b"x" * 78 + b"\r\n") * 51 + b".\r\n"

Measured = dict[str, dict[str, float]]
Server = TypeVar("Server", MailboxServer, servers.SmtpServer)


# --- POP3 -------------------------------------------------------------------------------------------------------------


def measure_logins(running: Sequence[MailboxServer], rounds: int) -> Measured:
    """Logins a second by server, `plain` and `tls`: connect, USER, PASS, QUIT, in a mailbox of ten messages."""
    for server in running:
        server.renew(ACCOUNTS, lambda maildir: fill(maildir, 10))
    ways = {
        "plain": lambda server: _rate(_log_in, [(server.port(), account, False) for account in ACCOUNTS], _LOGINS),
        "tls": lambda server: _rate(_log_in, [(server.pop3s_port(), account, True) for account in ACCOUNTS], _LOGINS),
    }
    return _rounds(running, ways, rounds)


def _log_in(port: int, account: str, uses_tls: bool, times: int) -> None:
    context = _context()
    for _ in range(times):
        connection = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
        if uses_tls:
            connection = context.wrap_socket(connection)
        _expect(connection, b"+OK")
        for command in (f"USER {account}", f"PASS {PASSWORD}", "QUIT"):
            connection.sendall(command.encode() + b"\r\n")
            _expect(connection, b"+OK")
        _hang_up(connection)


# --- SMTP -------------------------------------------------------------------------------------------------------------


@contextmanager
def ours(folder: Path) -> Iterator[servers.SmtpServer]:
    """Our server with a certificate."""
    folder.mkdir(mode=0o711)
    certificate = Authority(folder).issue("mail.example.test")
    tls = {"certificate": str(certificate.chain), "private_key": str(certificate.private_key)}
    with servers.our_server(folder / "mailserver", {"tls": tls}) as server:
        yield servers.SmtpServer(
            servers.OURS, server.ports["smtp"], servers.LOGIN, server.mailbox(servers.LOGIN), server.pid
        )


@contextmanager
def postfix(folder: Path) -> Iterator[servers.SmtpServer]:
    """Postfix with a certificate."""
    folder.mkdir(mode=0o711)
    certificate = Authority(folder).issue("mx.remote.test")
    home = folder / "postfix"
    home.mkdir()
    settings = {"smtpd_client_connection_count_limit": "0"}
    server = Postfix(home, users=("bob",), certificate=certificate, settings=settings).start()
    try:
        yield servers.SmtpServer("Postfix", server.port, "bob@remote.test", server.maildir("bob"), server.pid, "file")
    finally:
        server.stop()


def measure_handshakes(running: Sequence[servers.SmtpServer], rounds: int) -> Measured:
    """Handshakes a second by server, and messages a second with a new connection and handshake each, until the 250.

    With each the server's processor milliseconds (`handshakes_cpu_ms`): the clients take as much as the servers do, so
    that the rates are nearer to each other than the servers are.
    """
    ways = {
        "handshakes": lambda server: _rate(_shake_hands, [(server.port, "")] * _PROCESSES, _HANDSHAKES),
        "messages": lambda server: _rate(_shake_hands, [(server.port, server.recipient)] * _PROCESSES, _MESSAGES),
    }
    return _rounds(running, ways, rounds, {"handshakes": _HANDSHAKES, "messages": _MESSAGES})


def _shake_hands(port: int, recipient: str, times: int) -> None:
    """STARTTLS, then a message to `recipient` where there is one, then QUIT."""
    context = _context()
    message = ["EHLO load.test", "MAIL FROM:<ann@load.test>", f"RCPT TO:<{recipient}>", "DATA"] if recipient else []
    for _ in range(times):
        connection = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _expect(connection, b"220")
        for command in ("EHLO load.test", "STARTTLS"):
            connection.sendall(command.encode() + b"\r\n")
            _expect(connection, b"2")
        connection = context.wrap_socket(connection)
        for command in message:
            connection.sendall(command.encode() + b"\r\n")
            _expect(connection, b"3" if command == "DATA" else b"2")
        if message:
            connection.sendall(_CONTENT)
            _expect(connection, b"250")
        connection.sendall(b"QUIT\r\n")
        _expect(connection, b"221")
        _hang_up(connection)


# --- what they share --------------------------------------------------------------------------------------------------


def _rounds(
    running: Sequence[Server],
    ways: dict[str, Callable[[Server], float]],
    rounds: int,
    counts: dict[str, int] | None = None,
) -> Measured:
    """Medians; rounds are interleaved, and one before them all is for warming up.

    `counts`: how often each client of a round does it, where the server's processor time for each is asked for.
    """
    result: Measured = {server.name: {} for server in running}
    for title, way in ways.items():
        samples: dict[str, list[float]] = {server.name: [] for server in running}
        cpu: dict[str, list[float]] = {server.name: [] for server in running}
        for _ in range(rounds + 1):
            for server in running:
                before = cpu_seconds(server.group) if isinstance(server, servers.SmtpServer) else 0.0
                samples[server.name].append(way(server))
                if isinstance(server, servers.SmtpServer):
                    cpu[server.name].append(cpu_seconds(server.group) - before)
        for name in samples:
            result[name][title] = median(samples[name][1:])
            if counts:
                result[name][f"{title}_cpu_ms"] = median(cpu[name][1:]) * 1e3 / (_PROCESSES * counts[title])
    return result


def _rate(call: Callable[..., None], arguments: Sequence[tuple[object, ...]], times: int) -> float:
    """`call(*arguments, times)` in a process for each of `arguments`; how many times a second in all."""
    with multiprocessing.get_context("fork").Pool(len(arguments)) as pool:
        pool.map(abs, range(len(arguments)))  # all processes are there
        began = time.perf_counter()
        pool.starmap(call, [(*one, times) for one in arguments], chunksize=1)
        return len(arguments) * times / (time.perf_counter() - began)


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _expect(connection: socket.socket, start: bytes) -> None:
    """Read one reply to its last line."""
    reply = connection.recv(65536)
    while not reply.endswith(b"\n") or reply.rsplit(b"\n", 2)[-2][3:4] == b"-":
        piece = connection.recv(65536)
        if not piece:
            raise RuntimeError(f"the server hung up behind {reply!r}")
        reply += piece
    if not reply.startswith(start):
        raise RuntimeError(f"the server said {reply!r}")


def _hang_up(connection: socket.socket) -> None:
    """Wait for the server's end, so that the mailbox is free."""
    try:
        while connection.recv(65536):
            pass
    except OSError:
        pass  # a server that drops TLS without a goodbye has ended too
    connection.close()
