"""Everybody who uses the server during one round, each in a thread."""

import functools
import random
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.integration.server import ALICE, BOB, LIMIT_S, Server
from tests.soak.book import Book
from tests.soak.local_hands import Operator, drop_messages
from tests.soak.moments import Moments
from tests.soak.pop3_clients import Pop3Client
from tests.soak.smtp_clients import Outgoing, send_to_port_25, submit

_STRANGERS, _SUBMITTERS = 2, 2


class Load:
    """The users of one server, over all its lives. `book` is their ledger."""

    def __init__(self, server: Server, ledger: Path, moments: Moments) -> None:
        self.book = Book(ledger)
        self._server = server
        self._moments = moments
        self._operator = Operator(server.state)
        self._users = [Pop3Client(box, self.book, moments) for box in (ALICE, BOB)]
        self._password = functools.cache(server.password)

    @contextmanager
    def at_work(self, chance: random.Random) -> Iterator[None]:
        """Everybody is at work while the block runs, and has ended after it."""
        stop = threading.Event()
        work: list[Callable[[Outgoing], None]] = [
            *[send_to_port_25] * _STRANGERS,
            *[submit] * _SUBMITTERS,
            lambda out: drop_messages(out, self._server.folder / "drop"),
            self._operator.give_orders,
            *(user.fetch_all_the_time for user in self._users),
        ]
        threads = [threading.Thread(target=self._do, args=(one, stop, random.Random(chance.random()))) for one in work]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join(3 * LIMIT_S)
                assert not thread.is_alive(), "a client hangs"

    def _do(self, work: Callable[[Outgoing], None], stop: threading.Event, chance: random.Random) -> None:
        out = Outgoing(self.book, self._moments, stop, chance, self._server.ports, self._password, self._tls)
        try:
            work(out)
        except Exception as error:  # a fault of the load must not pass for a quiet server
            self.book.complain(f"the load itself failed: {error!r}")
            raise

    def _tls(self) -> ssl.SSLContext:
        return self._server.tls

    def let_all_go(self) -> None:
        """The operator holds nothing any more."""
        self._operator.let_all_go(self.book)

    def is_drained(self) -> bool:
        """Whether nothing is left to send or to pick up."""
        waiting = [
            *(self._server.state / "queue" / "messages").iterdir(),
            *(path for path in (self._server.folder / "drop").iterdir() if path.is_file()),
        ]
        return not waiting
