"""What every room that waits asks: the time, later calls, and blocking work done elsewhere."""

from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Protocol, TypeVar

T = TypeVar("T")


class Cancellable(Protocol):
    """A call that has been scheduled."""

    def cancel(self) -> None:
        """Forget it. Cancelling what has run already is not an error."""


class Clock(Protocol):
    """Wall time for what is written down, monotonic time for what is measured, and later calls."""

    def now(self) -> float:
        """Seconds since the epoch; may jump."""

    def monotonic(self) -> float:
        """Seconds that only grow; its zero means nothing."""

    def call_later(self, delay_s: float, call: Callable[[], object]) -> Cancellable:
        """Run `call` after `delay_s` seconds of monotonic time; what it raises is logged."""

    def sleep(self, delay_s: float) -> Awaitable[None]:
        """Wait without holding anything."""


class Lane(Enum):
    """Separate bounded executors, so that work of one kind never starves another (design section 8)."""

    CONTENT = "content"  # large messages on their way to the disk
    MAILBOX = "mailbox"  # POP3 listings, reads and deletions
    PASSWORDS = "passwords"  # slow hashes, two at once
    QUEUE = "queue"  # spool files: reading, state changes, removal
    GENERAL = "general"
    CERTIFICATES = "certificates"  # orders at an ACME authority: minutes of waiting, one at a time


class Overloaded(Exception):
    """The lane's queue is full. The peer gets 421, 451 or 454 and comes back."""


class Blocking(Protocol):
    """Runs blocking calls away from the reactor thread."""

    def run(self, lane: Lane, call: Callable[..., T], *args: object) -> Awaitable[T]:
        """The result of `call(*args)`, or its exception. Raises `Overloaded` at once when the lane is full."""
