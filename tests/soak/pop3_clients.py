"""A client that fetches and deletes by POP3, and knows what a maildrop may never do.

It keeps, over all kills: every unique-id it has seen, the digest of what it fetched, and which deletions were asked for
and which were answered. The maildrop must list everything that was not deleted, under the unique-id it had, with the
same octets, and nothing whose deletion was answered.
"""

import hashlib
import poplib
import random
import threading

from tests.integration.server import HOST, LIMIT_S
from tests.soak import moments as at
from tests.soak.book import Book
from tests.soak.letters import Damaged, Letter, read_copy
from tests.soak.moments import Moments
from tests.soak.smtp_clients import Outgoing

_MOST_AT_ONCE = 40


class Pop3Client:
    """One user's program; it lives as long as the run."""

    def __init__(self, box: str, book: Book, moments: Moments) -> None:
        self._box = box
        self._book = book
        self._moments = moments
        self._known: set[str] = set()
        self._asked: set[str] = set()
        self._erased: set[str] = set()
        self._digests: dict[str, str] = {}

    def fetch_all_the_time(self, out: Outgoing) -> None:
        """Sessions until `stop` is set or the server is gone."""
        while not out.stop.is_set():
            try:
                self._session(out.ports["pop3"], out.password(self._box), out.chance, out.stop)
            except TimeoutError:
                self._book.complain(f"POP3 of {self._box}: no answer within {LIMIT_S:g} s")
                return
            except (OSError, EOFError):
                return
            except poplib.error_proto as error:
                if not self._is_cut(error):
                    self._book.complain(f"POP3 of {self._box}: {error}")
            out.stop.wait(out.chance.uniform(0.0, 0.1))

    @staticmethod
    def _is_cut(error: poplib.error_proto) -> bool:
        """Whether the server was ended in the middle of a line, is being stopped, or has not noticed yet that the
        session before has hung up."""
        return any(word in str(error) for word in ("EOF", "SYS/TEMP", "IN-USE"))

    def _session(self, port: int, password: str, chance: random.Random, stop: threading.Event) -> None:
        client = poplib.POP3(HOST, port, timeout=LIMIT_S)
        try:
            client.user(self._box)
            client.pass_(password)
            listing = dict(line.decode().split() for line in _lines(client, b"UIDL"))
            self._compare(set(listing.values()))
            chosen = list(listing.items())[: chance.randint(1, _MOST_AT_ONCE)]
            doomed = []
            for number, unique_id in chosen:
                if stop.is_set():
                    break
                self._retrieve(client, int(number), unique_id)
                if chance.random() < 0.8:
                    client.dele(int(number))
                    doomed.append(unique_id)
            if chance.random() < 0.1:
                return  # hangs up: nothing may be deleted
            self._quit(client, doomed)
        finally:
            client.close()

    def _compare(self, listed: set[str]) -> None:
        for unique_id in sorted(self._known - listed - self._asked):
            self._book.complain(f"{self._box}: {unique_id} is not listed any more, and nobody deleted it")
        for unique_id in sorted(listed & self._erased):
            self._book.complain(f"{self._box}: {unique_id} is listed, and its deletion was answered")
        self._known |= listed

    def _retrieve(self, client: poplib.POP3, number: int, unique_id: str) -> None:
        lines = _lines(client, b"RETR %d" % number)
        octets = b"".join(line.removeprefix(b".").replace(b"\r\n", b"\n") for line in lines)
        digest = hashlib.sha256(octets).hexdigest()
        if self._digests.setdefault(unique_id, digest) != digest:
            self._book.complain(f"{self._box}: {unique_id} has other octets than before")
        try:
            copy = read_copy(octets)
        except Damaged as damage:
            self._book.complain(f"{self._box}: {unique_id}: {damage}")
            return
        if isinstance(copy, Letter):
            about: dict[str, object] = {"n": copy.number, "attempt": copy.attempt}
        else:
            told = [[one.number, one.attempt, one.queue_id, one.recipient, one.action] for one in copy.about]
            about = {"report": copy.report_id, "about": told}
        self._book.write("fetched", box=self._box, uidl=unique_id, digest=digest, **about)

    def _quit(self, client: poplib.POP3, doomed: list[str]) -> None:
        self._asked.update(doomed)
        self._book.write("quitting", box=self._box, uidls=doomed)
        client.sock.sendall(b"QUIT\r\n")
        self._moments.reached(at.QUIT)
        line = client.file.readline()
        if line.startswith(b"+OK") and line.endswith(b"\r\n"):
            self._erased.update(doomed)
            self._known.difference_update(doomed)
            self._book.write("erased", box=self._box, uidls=doomed)
        elif line.endswith(b"\r\n") and not self._is_cut(poplib.error_proto(line)):
            self._book.complain(f"QUIT of {self._box} was answered {line!r}")


def _lines(client: poplib.POP3, command: bytes) -> list[bytes]:
    """A response of several lines (RFC 1939 3), each with its CRLF, dots not yet removed.

    poplib takes a connection that breaks off behind the dots of `..` for the end of a message, so it is not asked.
    """
    client.sock.sendall(command + b"\r\n")
    first = client.file.readline()
    if not first.endswith(b"\r\n"):
        raise EOFError
    if not first.startswith(b"+OK"):
        raise poplib.error_proto(first)
    lines: list[bytes] = []
    while (line := client.file.readline()) != b".\r\n":
        if not line.endswith(b"\r\n"):
            raise EOFError
        lines.append(line)
    return lines
