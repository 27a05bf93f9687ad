"""Clients that send: to port 25 and to the submission port, in all the ways a message can come.

A client writes its own commands, so that it knows which octet was the last one of a message, and the ledger has a line
before that octet goes out.
"""

import base64
import random
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.integration.server import ALICE, BOB, HOST
from tests.soak import moments as at
from tests.soak.book import Book, Message
from tests.soak.letter_mix import INCOMING, SUBMITTED
from tests.soak.letters import content_of
from tests.soak.moments import Moments

# More than any answer takes, also on a busy machine; a start may take as long.
ANSWER_LIMIT_S = 15.0

Passwords = Callable[[str], str]


class _Gone(Exception):
    """The server closed the connection before it answered."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What all clients share. `tls` makes a client's TLS."""

    book: Book
    moments: Moments
    stop: threading.Event
    chance: random.Random
    ports: dict[str, int]
    password: Passwords
    tls: Callable[[], ssl.SSLContext]


class _Connection:
    """One connection to an SMTP port."""

    def __init__(self, port: int) -> None:
        self.socket: socket.socket = socket.create_connection((HOST, port), timeout=ANSWER_LIMIT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.replies = self.socket.makefile("rb")
        self._said = b""

    def __str__(self) -> str:
        return f"{self.socket}, last line sent: {self._said!r}"

    def read(self) -> bytes:
        """The last line of the next reply. Raises `_Gone` and `OSError`."""
        while line := self.replies.readline():
            if not line.endswith(b"\n"):
                break
            if line[3:4] != b"-":
                return line.rstrip()
        raise _Gone

    def ask(self, octets: bytes) -> bytes:
        """Send, and read one reply."""
        self._said = octets[:40]
        self.socket.sendall(octets)
        return self.read()

    def start_tls(self, context: ssl.SSLContext) -> None:
        """STARTTLS; raises `OSError` when the server dies meanwhile."""
        self.ask(b"STARTTLS\r\n")
        self.replies.close()
        self.socket = context.wrap_socket(self.socket, server_hostname="mail.example.test")
        self.replies = self.socket.makefile("rb")

    def close(self) -> None:
        self.replies.close()
        self.socket.close()


def send_to_port_25(out: Outgoing) -> None:
    """A stranger's server: one connection after the other, until `stop` is set or the server is gone."""
    _many_connections(out, "smtp", lambda connection: _as_a_server(out, connection))


def submit(out: Outgoing) -> None:
    """Desktop clients of alice and bob."""
    _many_connections(out, "submission", lambda connection: _as_a_client(out, connection))


def _many_connections(out: Outgoing, service: str, use: Callable[[_Connection], None]) -> None:
    while not out.stop.is_set():
        try:
            connection = _Connection(out.ports[service])
        except OSError:
            return
        try:
            connection.read()
            use(connection)
        except TimeoutError:
            _no_answer(out, service, connection)
        except (OSError, _Gone):
            continue
        finally:
            connection.close()


def _no_answer(out: Outgoing, service: str, connection: _Connection) -> None:
    """A server that is there must answer. A connection made in the moment of a kill may never be told that nobody is
    at its other end; then nobody listens on the port either, for the next start waits for the clients.
    """
    sockets = Path("/proc/net/tcp").read_text().splitlines()
    port = f":{out.ports[service]:04X} "
    about = f"{service}: no answer within {ANSWER_LIMIT_S:g} s, {connection}"
    if any(f"{port}00000000:0000 0A" in line for line in sockets):
        out.book.complain(about)
    else:
        out.book.write("forsaken", about=about, sockets=[line for line in sockets if port in line])


def _as_a_server(out: Outgoing, connection: _Connection) -> None:
    connection.ask(b"EHLO elsewhere.test\r\n")
    for _ in range(out.chance.randint(1, 6)):
        if out.stop.is_set():
            return
        way = out.chance.choice((_with_data, _with_bdat, _pipelined, _pipelined, _many_at_once))
        way(out, connection, out.chance.choice((1, 2, 3)))
    connection.ask(b"QUIT\r\n")


def _as_a_client(out: Outgoing, connection: _Connection) -> None:
    login = out.chance.choice((ALICE, BOB))
    connection.ask(b"EHLO [127.0.0.1]\r\n")
    if out.chance.random() < 0.15:
        connection.start_tls(out.tls())
        connection.ask(b"EHLO [127.0.0.1]\r\n")
    secret = base64.b64encode(f"\0{login}\0{out.password(login)}".encode())
    if not _is_fine(out, connection.ask(b"AUTH PLAIN " + secret + b"\r\n"), b"235", "AUTH"):
        return
    for _ in range(out.chance.randint(1, 4)):
        if out.stop.is_set():
            return
        message = out.book.take(f"submission {login}", lambda number: _submitted(number, login, out.chance))
        out.chance.choice((_data_of, _pipelined_of))(out, connection, message)
    connection.ask(b"QUIT\r\n")


def _submitted(number: int, login: str, chance: random.Random) -> Message:
    message = SUBMITTED.make(number, chance)
    message.way, message.sender = f"submission {login}", login
    return message


def _incoming(out: Outgoing) -> Message:
    return out.book.take(INCOMING.way, lambda number: INCOMING.make(number, out.chance))


# --- ways of sending --------------------------------------------------------------------------------------------------


def _with_data(out: Outgoing, connection: _Connection, count: int) -> None:
    """Word by word; now and then somebody is asked for who does not exist."""
    del count
    _data_of(out, connection, _incoming(out))


def _data_of(out: Outgoing, connection: _Connection, message: Message) -> None:
    with _Try(out, message) as attempt:
        mail, *recipients = _envelope(message)
        attempt.expect(connection.ask(mail), b"250")
        if out.chance.random() < 0.1:
            attempt.expect(connection.ask(b"RCPT TO:<nobody@example.test>\r\n"), b"550")
        for recipient in recipients:
            attempt.expect(connection.ask(recipient), b"250")
        attempt.expect(connection.ask(b"DATA\r\n"), b"354")
        connection.socket.sendall(attempt.content_with_dots())
        attempt.ends(lambda: connection.socket.sendall(b".\r\n"))
        attempt.is_answered(connection.read())


def _pipelined(out: Outgoing, connection: _Connection, count: int) -> None:
    """The envelope in one segment (RFC 2920)."""
    del count
    _pipelined_of(out, connection, _incoming(out))


def _pipelined_of(out: Outgoing, connection: _Connection, message: Message) -> None:
    with _Try(out, message) as attempt:
        envelope = _envelope(message)
        connection.socket.sendall(b"".join(envelope) + b"DATA\r\n")
        for _ in envelope:
            attempt.expect(connection.read(), b"250")
        attempt.expect(connection.read(), b"354")
        content = attempt.content_with_dots()
        attempt.ends(lambda: connection.socket.sendall(content + b".\r\n"))
        attempt.is_answered(connection.read())


def _with_bdat(out: Outgoing, connection: _Connection, count: int) -> None:
    """In chunks, each answered before the next (RFC 3030)."""
    message = _incoming(out)
    with _Try(out, message) as attempt:
        for line in _envelope(message):
            attempt.expect(connection.ask(line), b"250")
        content = attempt.content()
        size = len(content) // count
        for part in range(count - 1):
            chunk = content[part * size : (part + 1) * size]
            attempt.expect(connection.ask(b"BDAT %d\r\n" % len(chunk) + chunk), b"250")
        rest = content[(count - 1) * size :]
        attempt.ends(lambda: connection.socket.sendall(b"BDAT %d LAST\r\n" % len(rest) + rest))
        attempt.is_answered(connection.read())


def _many_at_once(out: Outgoing, connection: _Connection, count: int) -> None:
    """Several whole messages in one go, before the first is answered (RFC 3030 and 2920 together)."""
    tries = [_Try(out, _incoming(out)) for _ in range(count + 1)]
    octets = b""
    for one in tries:
        content = one.content()
        octets += b"".join(_envelope(one.message)) + b"BDAT %d LAST\r\n" % len(content) + content
        out.book.sending(one.message)
    writer = threading.Thread(target=_send_quietly, args=(connection.socket, octets))
    writer.start()
    try:
        for number, one in enumerate(tries):
            with one:
                for _ in _envelope(one.message):
                    one.expect(connection.read(), b"250")
                if number == 0:
                    out.moments.reached(at.DOT)
                one.is_answered(connection.read())
    finally:
        for one in tries:
            one.give_back("")
        writer.join()


def _send_quietly(connection: socket.socket, octets: bytes) -> None:
    """Whoever reads the replies sees that the connection is lost."""
    try:
        connection.sendall(octets)
    except OSError:
        return


def _envelope(message: Message) -> list[bytes]:
    lines = [b"MAIL FROM:<%b>\r\n" % message.sender.encode()]
    for recipient in message.recipients:
        notify = message.notify.get(recipient)
        parameter = f" NOTIFY={notify}" if notify else ""
        lines.append(f"RCPT TO:<{recipient}>{parameter}\r\n".encode())
    return lines


class _Try:
    """One try of a message. Leaving the block without an answer gives the message back to the ledger."""

    def __init__(self, out: Outgoing, message: Message) -> None:
        self._out = out
        self.message = message
        self._is_over = False

    def content(self) -> bytes:
        return content_of(self.message.number, self.message.attempts, self.message.size_octets, self.message.sender)

    def content_with_dots(self) -> bytes:
        return self.content().replace(b"\r\n.", b"\r\n..")

    def ends(self, send: Callable[[], None]) -> None:
        """The last octets."""
        self._out.book.sending(self.message)
        send()
        self._out.moments.reached(at.DOT)

    def is_answered(self, reply: bytes) -> None:
        """The answer to the whole message."""
        if not _is_fine(self._out, reply, b"250", f"message {self.message.number}"):
            self.give_back(reply.decode("utf-8", "replace"))
            raise _Gone
        self._is_over = True
        self._out.book.acknowledged(self.message, reply.split()[2].decode("ascii", "replace"))
        self._out.moments.reached(at.ANSWERED)

    def expect(self, reply: bytes, code: bytes) -> None:
        """An answer to a command; anything else ends the try."""
        if not _is_fine(self._out, reply, code, f"a command of message {self.message.number}"):
            self.give_back(reply.decode("utf-8", "replace"))
            raise _Gone

    def give_back(self, reply: str) -> None:
        """Once."""
        if not self._is_over:
            self._is_over = True
            self._out.book.not_acknowledged(self.message, reply)

    def __enter__(self) -> "_Try":
        return self

    def __exit__(self, *details: object) -> None:
        self.give_back("")


def _is_fine(out: Outgoing, reply: bytes, code: bytes, what: str) -> bool:
    """Whether it is the expected answer. 421 is allowed too: the server is being stopped."""
    if reply.startswith(code):
        return True
    if not reply.startswith(b"421"):
        out.book.complain(f"{what} was answered {reply.decode('utf-8', 'replace')}")
    return False
