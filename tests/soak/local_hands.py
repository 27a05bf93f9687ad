"""Who works on the machine itself: programs that drop messages, and the operator."""

import contextlib
import os
from pathlib import Path

from mailserver.store.control_socket import ControlFailed, ControlUnavailable, Request, Response, ask
from mailserver.store.drop_format import DropHead, DropRecipient, encode_drop
from mailserver.store.drop_write import leave_message
from tests.soak import moments as at
from tests.soak.book import Book
from tests.soak.letter_mix import DROPPED
from tests.soak.letters import content_of
from tests.soak.smtp_clients import Outgoing

_MOST_HELD = 12


def drop_messages(out: Outgoing, folder: Path) -> None:
    """What `sendmail` does, every now and then, until `stop` is set; the server need not run."""
    while not out.stop.is_set():
        message = out.book.take(DROPPED.way, lambda number: DROPPED.make(number, out.chance))
        head = DropHead(message.sender, tuple(DropRecipient(one) for one in message.recipients))
        content = content_of(message.number, message.attempts, message.size_octets, message.sender)
        out.book.sending(message)
        name = leave_message(folder, encode_drop(head, content))
        out.book.acknowledged(message, name)
        out.moments.reached(at.DROPPED)
        out.stop.wait(out.chance.uniform(0.02, 0.3))


class Operator:
    """Holds, releases, retries and now and then gives up messages of the queue; lives as long as the run."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._held: list[str] = []

    def give_orders(self, out: Outgoing) -> None:
        """One order after the other until `stop` is set or the server is gone."""
        while not out.stop.is_set():
            try:
                self._order(out)
            except (ControlUnavailable, ControlFailed) as trouble:
                # The server is killed while it is asked, or is just starting.
                if isinstance(trouble, ControlFailed) and not isinstance(trouble.__cause__, OSError | None):
                    out.book.complain(f"an order: {trouble}")
            out.stop.wait(out.chance.uniform(0.01, 0.1))

    def _order(self, out: Outgoing) -> None:
        waiting = self._waiting()
        kind = out.chance.choice(("hold", "hold", "release", "release", "retry", "bounce"))
        if kind == "hold" and waiting and len(self._held) < _MOST_HELD:
            self._hold(out, out.chance.choice(waiting))
        elif kind == "release" and self._held:
            queue_id = self._held.pop(out.chance.randrange(len(self._held)))
            out.book.write("let-go", id=queue_id)
            self._ask(out, Request("queue-release", (queue_id,), by="soak"))
        elif kind == "retry":
            self._ask(out, Request("queue-retry", all=True, by="soak"))
        elif kind == "bounce" and waiting and out.chance.random() < 0.2:
            queue_id = out.chance.choice(waiting)
            if not self._is_report(queue_id):
                self._give_up(out, queue_id)

    def _hold(self, out: Outgoing, queue_id: str) -> None:
        done = self._ask(out, Request("queue-hold", (queue_id,), by="soak", about={"reason": "soak"}))
        # A recipient that is being tried just now is held when its attempt is over, if it still waits then.
        if done.count and not done.about.get("running"):
            out.book.write("held", id=queue_id)
        self._held.append(queue_id)

    def _give_up(self, out: Outgoing, queue_id: str) -> None:
        out.book.write("let-go", id=queue_id)
        out.book.write("given-up", id=queue_id)
        self._ask(out, Request("queue-bounce", (queue_id,), by="soak", about={"reason": "soak"}))

    def _ask(self, out: Outgoing, request: Request) -> Response:
        out.moments.reached(at.ORDERED)
        return ask(self._state, request)

    def _is_report(self, queue_id: str) -> bool:
        """Whether it is none of the clients' messages: a bounce that is given up reaches nobody, as it was ordered."""
        try:
            return b'"our own report"' in (self._state / "queue" / "messages" / queue_id).read_bytes()[:1000]
        except FileNotFoundError:
            return True

    def _waiting(self) -> list[str]:
        with contextlib.suppress(FileNotFoundError):
            return os.listdir(self._state / "queue" / "messages")
        return []

    def let_all_go(self, book: Book) -> None:
        """Release everything, at the end of the run."""
        for queue_id in self._held:
            book.write("let-go", id=queue_id)
        self._held.clear()
        ask(self._state, Request("queue-release", tuple(self._waiting()), by="soak"))
