"""The ledger: what the clients know, one JSON object a line, written before and after each acknowledgment.

It is kept by the process that sends and fetches, never by the server, and every line is in the file before the next
octet goes to the server. The check reads the file and nothing else.

| what | when |
|---|---|
| `send` | before the last octet of a try (of a dropped message: before it gets its name) |
| `acknowledged` | the 250 was read (or the dropped message has its name) |
| `unanswered` | the connection broke before any answer; the message is sent again with the next try |
| `turned-away` | a 4yz was read: nothing of this try may be there |
| `fetched` | a whole message was read by RETR |
| `quitting`, `erased` | before QUIT, and when its +OK was read |
| `held`, `let-go`, `given-up` | a hold that was answered; before a release, before a bounce that the operator ordered |
| `started`, `kill`, `stopped` | the server has greeted; it is dead by SIGKILL; it has ended by SIGTERM |
| `forsaken` | a connection that a kill left without an end; for whoever wants to know |
| `complaint` | an answer that may never be |
"""

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Message:
    """One message of the ledger."""

    number: int
    way: str
    sender: str
    recipients: tuple[str, ...]
    size_octets: int
    # NOTIFY of each recipient that has one.
    notify: dict[str, str] = field(default_factory=dict)
    attempts: int = 0


class Book:
    """The ledger of one run. Threads share it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("a", encoding="ascii")
        self._lock = threading.Lock()
        self._count = 0
        self._again: dict[str, deque[Message]] = {}
        self.complaints: list[str] = []

    def write(self, what: str, **about: object) -> None:
        """A line; it is with the operating system when this returns."""
        line = json.dumps({"what": what, "at": time.time(), **about})
        with self._lock:
            self._file.write(line + "\n")
            self._file.flush()

    def complain(self, text: str) -> None:
        """Something that no server may do."""
        self.complaints.append(text)
        self.write("complaint", text=text)

    def close(self) -> None:
        """The file."""
        self._file.close()

    # --- messages -----------------------------------------------------------------------------------------------------

    def take(self, way: str, make: Callable[[int], Message]) -> Message:
        """A message to send this way now: one that got no answer before, or what `make` makes of a new number."""
        with self._lock:
            waiting = self._again.get(way)
            if waiting:
                message = waiting.popleft()
            else:
                self._count += 1
                message = make(self._count)
            message.attempts += 1
            return message

    def sending(self, message: Message) -> None:
        """The last octet of this try may go."""
        self.write(
            "send",
            n=message.number,
            attempt=message.attempts,
            way=message.way,
            sender=message.sender,
            to=message.recipients,
            notify=message.notify,
        )

    def acknowledged(self, message: Message, queue_id: str) -> None:
        """The message is the server's from now on."""
        self.write("acknowledged", n=message.number, attempt=message.attempts, id=queue_id)

    def not_acknowledged(self, message: Message, reply: str) -> None:
        """No answer (empty), or one that says no for now: it is sent again."""
        what = "turned-away" if reply else "unanswered"
        self.write(what, n=message.number, attempt=message.attempts, reply=reply)
        with self._lock:
            self._again.setdefault(message.way, deque()).append(message)


class Tail:
    """The lines that came to a file of JSON objects since the last look; a line without its end is left for later."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0

    def read(self) -> Iterator[dict]:
        """Each new line."""
        for line in self.lines():
            yield json.loads(line)

    def lines(self) -> list[bytes]:
        """The same, not decoded."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._at)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._at += len(whole) + len(newline)
        return whole.split(b"\n") if newline else []
