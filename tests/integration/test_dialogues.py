"""The transcripts in `tests/dialogues`, over sockets, with the real process: whole, and octet by octet."""

import itertools
import socket
import ssl

import pytest

from tests.fakes.dialogue import Closed, Expect, Handshake, Send, dialogues
from tests.integration.server import ALICE, BOB, HOST, Server

PASSWORD = "correct horse"
ALL = dialogues("*.txt")
TIMEOUT_S = 10


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One for all: nothing in a transcript reaches beyond its own connection but what lands in mailboxes."""
    # The wrong passwords of several transcripts come from one address.
    server = Server(tmp_path_factory.mktemp("server"), {"auth": {"exempt_networks": ["127.0.0.0/8"]}}, accounts=())
    for address in (ALICE, BOB):
        server.cli("account", "add", address, "--password-stdin", stdin=PASSWORD + "\n")
    server.cli("alias", "add", "sales@example.test", ALICE, BOB)
    with server:
        yield server


class SocketRun:
    """Plays one transcript over a connection."""

    def __init__(self, server, dialogue, *, octet_by_octet):
        self._server = server
        self._dialogue = dialogue
        self._octet_by_octet = octet_by_octet
        self._received = b""
        self._socket = socket.create_connection((HOST, server.ports[dialogue.listener]), timeout=TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if dialogue.listener in ("submissions", "pop3s"):
            self._start_tls()

    def play(self):
        with self._socket:
            for step in self._dialogue.steps:
                match step:
                    case Send(where, octets):
                        assert self._received == b"", f"{where}: the server said too much: {self._received}"
                        self._send(octets)
                    case Expect(where, text):
                        line = self._line(where)
                        assert step.fits(line), f"{where}: expected {text!r}, got {line!r}"
                    case Handshake(where):
                        assert self._received == b"", f"{where}: the server said too much: {self._received}"
                        self._start_tls()
                    case Closed(where):
                        assert self._receive() == b"", f"{where}: still open"
            assert self._received == b"", f"{self._dialogue.name}: the server said too much: {self._received}"

    def _start_tls(self):
        self._socket = self._server.tls.wrap_socket(self._socket, server_hostname="localhost")

    def _send(self, octets):
        for part in [bytes([octet]) for octet in octets] if self._octet_by_octet else [octets]:
            try:
                self._socket.sendall(part)
            except (BrokenPipeError, ConnectionResetError):
                return  # the server has closed, as after QUIT; the steps that follow say whether it should have

    def _receive(self):
        try:
            return self._socket.recv(65536)
        except (ConnectionResetError, ssl.SSLEOFError):
            return b""  # closed while something of ours was unread

    def _line(self, where):
        while b"\r\n" not in self._received:
            piece = self._receive()
            assert piece, f"{where}: the server has closed; before that it said {self._received!r}"
            self._received += piece
        line, _, self._received = self._received.partition(b"\r\n")
        return line.decode()


@pytest.mark.parametrize("octet_by_octet", [False, True], ids=["whole", "octets"])
@pytest.mark.parametrize("dialogue", ALL, ids=lambda dialogue: dialogue.name)
def test_dialogue(server, dialogue, octet_by_octet):
    if octet_by_octet and "whole-segments" in dialogue.name:
        octet_by_octet = False  # it means something else when cut
    fill(server.mailbox(ALICE), dialogue.maildrop)
    SocketRun(server, dialogue, octet_by_octet=octet_by_octet).play()


def fill(maildir, contents):
    """Make these the only messages of a mailbox, in this order, as another program would file them."""
    for part in ("tmp", "new", "cur"):
        (maildir / part).mkdir(parents=True, exist_ok=True)
        for path in (maildir / part).iterdir():
            path.unlink()
    for number, content in enumerate(contents, 1):
        # A name that no message ever had is what every Maildir relies on.
        (maildir / "new" / f"{1_750_000_000 + number}.{next(_unique)}.elsewhere").write_bytes(content)


_unique = itertools.count()


def test_there_are_dialogues():
    assert len(ALL) >= 15
