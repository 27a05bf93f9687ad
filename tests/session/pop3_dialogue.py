"""A POP3 connection in memory: machine and session joined as the network layer joins them."""

from pathlib import Path

from mailserver.config import AuthWithoutTls
from mailserver.mail.peer import Peer, peer_from
from mailserver.policy.limits import LoginGuesses
from mailserver.ports import Then, TlsDetails
from mailserver.session.pop3_server import Pop3Doors, Pop3Session, Pop3Settings
from mailserver.wire.pop3_server import Pop3Server
from tests.fakes.awaiting import run
from tests.fakes.clock import FakeClock
from tests.fakes.directory import MemoryDirectory
from tests.fakes.maildrop import MemoryMaildrops
from tests.fakes.sink import Told

ALICE = "alice@example.test"
PASSWORD = "correct horse"
LOOPBACK = peer_from("127.0.0.1", 4711)
STRANGER = peer_from("192.0.2.7", 4711)


class World:
    """What connections share."""

    def __init__(self, **settings) -> None:
        self.settings = Pop3Settings("mail.example.test", settings.pop("auth", AuthWithoutTls.LOOPBACK), **settings)
        self.directory = MemoryDirectory(("example.test",), (ALICE, "bob@example.test"))
        self.directory.passwords[ALICE] = PASSWORD
        self.maildrops = MemoryMaildrops()
        self.clock = FakeClock()
        # Failures are answered at once, but where a test says otherwise.
        self.guesses = LoginGuesses(answered_after_s=(0.0, 0.0))
        self.events = Told()

    def connect(self, peer: Peer = LOOPBACK) -> "Connection":
        return Connection(self, peer)

    def words(self) -> list[str]:
        return [event.word for event in self.events]


class Connection:
    """`say` sends octets and answers what comes back; `is_closed` once the server has closed."""

    def __init__(self, world: World, peer: Peer) -> None:
        doors = Pop3Doors(world.directory, world.maildrops, world.clock, world.guesses, world.events.tell)
        self.machine = Pop3Server()
        self.session = Pop3Session(world.settings, peer, doors)
        self.is_closed = False
        self.greeting = self.machine.greet(run(self.session.greet()).reply)

    def say(self, octets: bytes) -> bytes:
        self.machine.receive(octets)
        out = b""
        while not self.is_closed and (event := self.machine.next_event()) is not None:
            answer = self.session.answer_at_once(event) or run(self.session.answer(event))
            out += self.machine.reply(answer.reply)
            if answer.reply.pieces is not None:
                while piece := run(answer.reply.pieces.next_piece()):
                    out += piece
            if answer.then is Then.CLOSE:
                self.is_closed = True
            elif answer.then is Then.START_TLS:
                assert not self.machine.has_buffered_octets
                self.machine.tls_started()
                self.session.tls_started(TlsDetails("TLSv1.3", "TLS_AES_256_GCM_SHA384"))
        return out

    def line(self, text: str) -> bytes:
        return self.say(text.encode() + b"\r\n")

    def log_in(self) -> bytes:
        return self.line(f"USER {ALICE}") + self.line(f"PASS {PASSWORD}")


def play(path: Path) -> None:
    """Run one dialogue file; a step that fails names its line."""
    world = World()
    world.directory.has_scram = True  # as with accounts that the command line has made
    connection, waiting = None, b""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        kind, _, text = line.partition(":")
        text = text.removeprefix(" ")
        where = f"{path.name}:{number}: {line}"
        if kind == "M":
            world.maildrops.add(ALICE, text.replace("\\n", "\n").encode())
            continue
        if line.startswith("#") or not line:
            continue
        if connection is None:
            connection = world.connect()
            waiting = connection.greeting
        if kind == "S":
            got, _, waiting = waiting.partition(b"\r\n")
            assert got.startswith(text.encode()), f"{where}\ngot {got!r}"
        elif kind == "C":
            assert waiting == b"", f"{where}\nthe server has said more: {waiting!r}"
            waiting = connection.line(text)
        else:
            raise AssertionError(f"{where}\nneither C:, S:, M: nor #")
    assert waiting == b"", f"{path.name}: the server has said more: {waiting!r}"
