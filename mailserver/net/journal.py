"""The journal as a part of the running server: a sink for events, a thread, and a flush for who wants to read it."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from mailserver.maillog import MailEvent, Sink
from mailserver.net.control import Command
from mailserver.ports import Clock
from mailserver.store.control_socket import Request, Response
from mailserver.store.journal_writer import JournalRules, JournalWriter


class JournalFeed:
    """A `maillog.Sink` that keeps history. `log` is told of its troubles; `call_in_reactor` is `callFromThread`.

    Before `start` and after `stop` events wait in memory, within bounds.
    """

    def __init__(
        self, path: Path, rules: JournalRules, clock: Clock, log: Sink, call_in_reactor: Callable[..., Any]
    ) -> None:
        self._call_in_reactor = call_in_reactor
        self._writer = JournalWriter(path, rules, lambda event: call_in_reactor(log, event), clock.now)
        self._thread: threading.Thread | None = None
        self._stopped: Deferred[None] = Deferred()

    def __call__(self, event: MailEvent) -> None:
        """Note one event; costs an append."""
        self._writer.add(event)

    def start(self) -> None:
        """Start the thread; not before the process has its final user."""
        self._thread = threading.Thread(target=self._work, name="journal", daemon=True)
        self._thread.start()

    def stop(self) -> "Deferred[None]":
        """Write what waits; fires when the thread has ended."""
        if self._thread is None:
            self._stopped.callback(None)
        else:
            self._writer.stop()
        return self._stopped

    def flush(self) -> "Deferred[bool]":
        """Fires when everything noted so far was written, with whether that worked."""
        flushed: Deferred[bool] = Deferred()
        self._writer.flush(lambda is_written: self._call_in_reactor(flushed.callback, is_written))
        return flushed

    def _work(self) -> None:
        self._writer.run()
        self._call_in_reactor(self._stopped.callback, None)


def journal_commands(feed: JournalFeed | None) -> dict[str, Command]:
    """The commands that concern the journal."""

    async def flush(request: Request) -> Response:
        del request
        return Response(count=int(feed is not None and await feed.flush()))

    return {"journal-flush": flush}
