"""The next hop of the soak: a process of its own that survives every kill, with a ledger of what it took.

    python -m tests.soak.sink LEDGER

It prints its port, then a word for each thing that happens (`took`, `refused`), so that a kill can be aimed. The word
behind the number in a recipient's local-part says what becomes of it:

| word | what it does |
|---|---|
| `ok` | taken |
| `late` | 450 at RCPT, as often as the number behind it says, then taken |
| `no` | 550 at RCPT |
| `spam` | 554 after the dot, for the whole transaction |
| `busy` | 421 at RCPT the first time, and the connection is closed |
| `drop` | taken the first time, but the connection is closed in place of the answer; it comes again |
| `lose` | closed after the dot the first time, and not taken |

The ledger has a line before each 250 (`took`) and after it (`answered`), and one for each refusal.
"""

import json
import os
import socketserver
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.soak.letters import Damaged, Letter, read_copy

# As many of the answers to a dot take this long, so that kills fall between taking and answering.
_SLOW_EVERY, _SLOW_S = 8, 0.04


class Closed(Exception):
    """The connection is to be closed."""


class _Ledger:
    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="ascii")
        self._lock = threading.Lock()
        self._seen: Counter[tuple[str, str]] = Counter()
        self._takings = 0

    def write(self, what: str, **about: object) -> None:
        with self._lock:
            self._file.write(json.dumps({"what": what, "at": time.time(), **about}) + "\n")
            self._file.flush()
            if what in ("took", "refused"):
                print(what, flush=True)

    def is_first(self, address: str, stage: str, times: int = 1) -> bool:
        """Whether this was asked for at most so many times."""
        with self._lock:
            self._seen[address, stage] += 1
            return self._seen[address, stage] <= times

    def next_taking(self) -> int:
        with self._lock:
            self._takings += 1
            return self._takings


@dataclass(slots=True)
class _Transaction:
    sender: str = ""
    recipients: list[str] = field(default_factory=list)

    def has(self, word: str) -> list[str]:
        return [address for address in self.recipients if _word_of(address)[0] == word]


def _word_of(address: str) -> tuple[str, int]:
    """What is to become of a recipient; somebody without a word is taken."""
    words = address.partition("@")[0].split(".")
    if len(words) < 2:
        return "ok", 0
    return words[1], int(words[2]) if len(words) > 2 else 1


class _Session(socketserver.StreamRequestHandler):
    """One connection."""

    def handle(self) -> None:
        self.transaction = _Transaction()
        self._say(b"220 sink.test ESMTP")
        try:
            for line in self.rfile:
                self._command(line)
        except (Closed, OSError):
            return

    def _say(self, *lines: bytes) -> None:
        self.wfile.write(b"".join(line + b"\r\n" for line in lines))

    def _command(self, line: bytes) -> None:
        verb = line[:4].upper().strip()
        if verb == b"EHLO":
            self._say(b"250-sink.test", b"250-PIPELINING", b"250 8BITMIME")
        elif verb == b"MAIL":
            self.transaction = _Transaction(_address(line))
            self._say(b"250 fine")
        elif verb == b"RCPT":
            self._recipient(_address(line))
        elif verb == b"DATA":
            self._content()
        elif verb == b"QUIT":
            self._say(b"221 bye")
            raise Closed
        else:
            self._say(b"250 fine")

    def _recipient(self, address: str) -> None:
        ledger: _Ledger = self.server.ledger
        word, times = _word_of(address)
        if word == "no":
            ledger.write("refused", recipients=[address], code=550)
            self._say(b"550 5.1.1 nobody of that name")
        elif word == "late" and ledger.is_first(address, "late", times):
            ledger.write("put-off", recipients=[address], code=450)
            self._say(b"450 4.2.1 come again")
        elif word == "busy" and ledger.is_first(address, "busy"):
            ledger.write("put-off", recipients=[address], code=421)
            self._say(b"421 4.3.2 closing")
            raise Closed
        else:
            self.transaction.recipients.append(address)
            self._say(b"250 fine")

    def _content(self) -> None:
        if not self.transaction.recipients:
            self._say(b"503 nobody to send to")
            return
        self._say(b"354 go on")
        content = bytearray()
        for piece in self.rfile:
            if piece == b".\r\n":
                self._end(bytes(content))
                self.transaction = _Transaction()
                return
            content += piece.removeprefix(b".")
        raise Closed

    def _end(self, content: bytes) -> None:
        ledger: _Ledger = self.server.ledger
        transaction = self.transaction
        if transaction.has("spam"):
            ledger.write("refused", recipients=transaction.recipients, code=554)
            self._say(b"554 5.6.0 we do not like it")
            return
        if self._is_first_for_any("lose"):
            raise Closed
        taking = ledger.next_taking()
        ledger.write("took", taking=taking, to=transaction.recipients, **_told(content))
        if self._is_first_for_any("drop"):
            raise Closed
        if taking % _SLOW_EVERY == 0:
            time.sleep(_SLOW_S)
        self._say(b"250 2.0.0 taken")
        ledger.write("answered", taking=taking)

    def _is_first_for_any(self, word: str) -> bool:
        """Whether this comes for the first time for a recipient with this word; noted for all of them."""
        firsts = [self.server.ledger.is_first(address, word) for address in self.transaction.has(word)]
        return any(firsts)


def _told(content: bytes) -> dict[str, object]:
    """What was taken, for the ledger."""
    try:
        copy = read_copy(content)
    except Damaged as damage:
        return {"damage": str(damage)}
    if isinstance(copy, Letter):
        return {"n": copy.number, "attempt": copy.attempt, "id": copy.queue_id}
    about = [[one.number, one.attempt, one.queue_id, one.recipient, one.action] for one in copy.about]
    return {"report": copy.report_id, "about": about}


def _address(line: bytes) -> str:
    return line.partition(b"<")[2].partition(b">")[0].decode("ascii", "replace")


class _Sink(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, ledger: _Ledger) -> None:
        self.ledger = ledger
        super().__init__(("127.0.0.1", 0), _Session)

    def handle_error(self, request: object, client_address: object) -> None:
        """A fault of the sink would look like one of the server: it ends the run."""
        sys.excepthook(*sys.exc_info())
        os._exit(1)


def main() -> None:
    """Serve until standard input ends: whoever started this is gone then."""
    with _Sink(_Ledger(Path(sys.argv[1]))) as sink:
        print(sink.server_address[1], flush=True)
        threading.Thread(target=sink.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
        sys.stdin.buffer.read()


if __name__ == "__main__":
    main()
