"""Kills the server with SIGKILL at random moments under load, and looks for every message it has acknowledged.

A load of several senders keeps the ledger, in its own process: what was acknowledged with 250, and what was sent but
got no reply (and is sent again, as a real client does). After each kill every acknowledged message must be in its
mailboxes, or in the spool or at the next hop, and whole; and there may be more copies than one only of those that were
sent more than once.

    python -m tests.soak.kill_rounds --rounds 200 [--seed N]
"""

import argparse
import hashlib
import random
import smtplib
import socketserver
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.integration.server import ALICE, BOB, HOST, LIMIT_S, Server, wait_until

REMOTE = "carol@remote.test"
SENDERS = 4
# Small ones take the way through memory, the largest the way of streamed content.
SIZES = (300, 4_000, 4_000, 4_000, 60_000, 1_500_000)
_MARK, _SUM, _END = b"\nX-Number: ", b"\nX-Sum: ", b"\nend of the message\n"


@dataclass(slots=True)
class Sent:
    """One message of the ledger: for whom, how often it was sent, and whether a 250 came back."""

    recipients: tuple[str, ...]
    size_octets: int
    attempts: int = 0
    is_acknowledged: bool = False


@dataclass(slots=True)
class Ledger:
    """What the senders know. Each number is used by one sender at a time; nothing may be in `complaints`."""

    messages: dict[int, Sent] = field(default_factory=dict)
    unanswered: list[int] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, chance: random.Random) -> tuple[int, Sent]:
        """A message to send now: one that got no reply before, or a new one."""
        with self.lock:
            if self.unanswered:
                number = self.unanswered.pop()
            else:
                number = len(self.messages)
                recipients = chance.choice([(ALICE,), (BOB,), (ALICE, BOB), (ALICE, BOB, REMOTE), (REMOTE,)])
                self.messages[number] = Sent(recipients, chance.choice(SIZES))
            message = self.messages[number]
            message.attempts += 1
            return number, message

    def give_back(self, number: int) -> None:
        """No reply came: it may be there or not, and is sent again."""
        with self.lock:
            self.unanswered.append(number)


def content_of(number: int, size_octets: int) -> bytes:
    """The message with this number; it carries a digest, so that a torn copy is noticed."""
    body = (b"%d 0123456789 abcdefghij\n" % number) * (size_octets // 24 + 1)
    digest = hashlib.sha256(body).hexdigest().encode()
    header = b"From: ann@elsewhere.test\nSubject: soak" + _MARK + b"%d" % number + _SUM + digest + b"\n\n"
    return header + body + _END[1:]


def number_of(content: bytes) -> int:
    """The number of a stored message; AssertionError when the content is not whole."""
    content = content.replace(b"\r\n", b"\n")
    number = content.partition(_MARK)[2].partition(b"\n")[0]
    digest = content.partition(_SUM)[2].partition(b"\n")[0]
    body = content.partition(_SUM)[2].partition(b"\n\n")[2]
    assert body.endswith(_END), f"message {number!r} is cut off"
    assert hashlib.sha256(body[: 1 - len(_END)]).hexdigest().encode() == digest, f"message {number!r} is damaged"
    return int(number)


# --- the load ---------------------------------------------------------------------------------------------------------


def _send_until(stop: threading.Event, port: int, ledger: Ledger, chance: random.Random) -> None:
    """Send over one connection after another until `stop` is set or the server is gone."""
    while not stop.is_set():
        try:
            client = smtplib.SMTP(HOST, port, timeout=LIMIT_S)
        except OSError:  # smtplib's own are of this kind too
            return
        with suppress(OSError), client:
            for _ in range(chance.randint(1, 8)):
                _send(client, ledger, chance)


def _send(client: smtplib.SMTP, ledger: Ledger, chance: random.Random) -> None:
    """One message of the ledger; raises what smtplib raises."""
    number, message = ledger.take(chance)
    try:
        content = content_of(number, message.size_octets).replace(b"\n", b"\r\n")
        refused = client.sendmail("ann@elsewhere.test", message.recipients, content)
    except OSError as error:
        ledger.give_back(number)
        if isinstance(error, (smtplib.SMTPResponseException, smtplib.SMTPRecipientsRefused, TimeoutError)):
            ledger.complaints.append(f"message {number}: {error!r}")
        raise
    if refused:
        ledger.complaints.append(f"message {number}: {refused}")
    message.is_acknowledged = True


@contextmanager
def load(port: int, ledger: Ledger, chance: random.Random) -> Iterator[None]:
    """Senders at work while the block runs; they have all ended after it."""
    stop = threading.Event()
    seeds = [random.Random(chance.random()) for _ in range(SENDERS)]
    threads = [threading.Thread(target=_send_until, args=(stop, port, ledger, seed)) for seed in seeds]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(2 * LIMIT_S)
            assert not thread.is_alive(), "a sender hangs"


# --- the next hop -----------------------------------------------------------------------------------------------------


class _Sink(socketserver.StreamRequestHandler):
    """The smallest server that can be relayed to; it acknowledges what it has remembered."""

    def handle(self) -> None:
        self.wfile.write(b"220 sink.test\r\n")
        for line in self.rfile:
            verb = line[:4].upper().strip()
            if verb == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                content = bytearray()
                for piece in self.rfile:
                    if piece == b".\r\n":
                        self.server.received.append(bytes(content))
                        self.wfile.write(b"250 taken\r\n")
                        break
                    content += piece.removeprefix(b".")
                else:
                    return
            elif verb == b"QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            else:
                self.wfile.write(b"250 fine\r\n")


class _NextHop(socketserver.ThreadingTCPServer):
    """`received` lists the contents it took."""

    daemon_threads = True

    def __init__(self) -> None:
        self.received: list[bytes] = []
        super().__init__((HOST, 0), _Sink)

    def handle_error(self, request: object, client_address: object) -> None:
        """Our server is killed in mid-conversation again and again: nothing to tell."""


@contextmanager
def next_hop() -> Iterator[_NextHop]:
    """A server on a free port."""
    with _NextHop() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


# --- the check --------------------------------------------------------------------------------------------------------


class Check:
    """Compares ledger and disk. Files are read once, for their names are never used again."""

    def __init__(self, server: Server, ledger: Ledger, received: list[bytes]) -> None:
        self._server = server
        self._ledger = ledger
        self._received = received
        self._known: dict[Path, int] = {}

    def filed(self, address: str) -> Counter[int]:
        """How often each message is in this mailbox; every file in it must be whole."""
        new = self._server.mailbox(address) / "new"
        paths = list(new.iterdir()) if new.exists() else []
        for path in paths:
            if path not in self._known:
                self._known[path] = number_of(path.read_bytes())
        return Counter(self._known[path] for path in paths)

    def spooled(self) -> set[int]:
        """The messages that a file of the queue holds."""
        found = set()
        for path in (self._server.state / "queue").rglob("*"):
            try:
                content = path.read_bytes() if path.is_file() else b""
            except FileNotFoundError:
                continue  # delivered meanwhile
            _, mark, rest = content.replace(b"\r\n", b"\n").partition(_MARK)
            if mark:
                found.add(int(rest.partition(b"\n")[0]))
        return found

    def run(self) -> None:
        """AssertionError for anything refused, lost, torn or repeated without need."""
        assert not self._ledger.complaints, self._ledger.complaints
        # The spool first: what leaves it meanwhile is at the next hop.
        spooled = self.spooled()
        relayed = Counter(number_of(content) for content in list(self._received))
        filed = {address: self.filed(address) for address in (ALICE, BOB)}
        for number, message in self._ledger.messages.items():
            for address in message.recipients:
                where = f"message {number} for {address}"
                if address == REMOTE:
                    # May be repeated: by a crash between the next hop's 250 and our note of it.
                    copies = relayed[number] + (number in spooled)
                else:
                    copies = filed[address][number]
                    assert copies <= message.attempts, f"{where} was sent {message.attempts}x and is there {copies}x"
                assert copies or not message.is_acknowledged, f"{where} was acknowledged and is lost"


def run_rounds(folder: Path, rounds: int, seed: int) -> Ledger:
    """So many kills; AssertionError as soon as something is wrong. The ledger, for a summary."""
    chance = random.Random(seed)
    ledger = Ledger()
    with next_hop() as sink:
        relay = {"routes": {"remote.test": f"{HOST}:{sink.server_address[1]}"}, "retry": ["300ms"]}
        # The senders speak for strangers' domains and for the remote one, without logging in.
        server = Server(folder, {"relay": relay, "smtp": {"trusted_networks": ["127.0.0.0/8"]}})
        check = Check(server, ledger, sink.received)
        try:
            for _ in range(rounds):
                if chance.random() < 0.2:
                    # Killed while it starts: recovery itself must bear it.
                    server.launch()
                    time.sleep(chance.uniform(0.1, 0.8))
                else:
                    server.start()
                    with load(server.ports["smtp"], ledger, chance):
                        time.sleep(chance.uniform(0.02, 0.5))
                        server.kill()
                server.kill()
                check.run()
            server.start()
            wait_until(lambda: not check.spooled(), f"an empty spool; log:\n{server.log[-4000:]}")
            check.run()
            for address in (ALICE, BOB):
                assert list((server.mailbox(address) / "tmp").iterdir()) == [], "temporary files were left behind"
        finally:
            server.kill()
    return ledger


def main() -> None:
    parser = argparse.ArgumentParser(prog="kill_rounds", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None, help="repeat a run")
    arguments = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 32) if arguments.seed is None else arguments.seed
    print(f"{arguments.rounds} kills, seed {seed}", flush=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mailserver-kill-", ignore_cleanup_errors=True) as folder:
        ledger = run_rounds(Path(folder), arguments.rounds, seed)
    sent = ledger.messages.values()
    acknowledged = sum(message.is_acknowledged for message in sent)
    again = sum(message.attempts > 1 for message in sent)
    took = time.monotonic() - began
    print(f"{acknowledged} messages acknowledged, none lost; {again} sent more than once; {took:.0f} s")


if __name__ == "__main__":
    main()
