"""The `Blocking` door: a few threads for each lane, with a bounded queue before them.

Work of one kind never starves another (design section 8): each lane has its own threads, and a lane whose queue is
full says `Overloaded` at once instead of letting callers pile up. The threads are ours and not a pool of the standard
library's because those are joined when the interpreter ends: one thread stuck in a dead network file system would keep
a stopped server alive for ever.
"""

import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure

from mailserver.net.lulls import AtLull, at_once
from mailserver.ports import Lane, Overloaded

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Width:
    """How many calls of a lane run at once, and how many more may wait."""

    threads: int
    waiting: int
    # Whether the stop of the server waits for calls that run.
    is_awaited: bool = True
    # Whether a call may wait for a lull. Not where each writes so much that the disk must not rest meanwhile.
    may_wait: bool = True


# Passwords: two at once, so that guessing never takes both cores for long; beyond half a minute of work there is no
# point in waiting. The others are bounded so that a dead disk costs memory for so many calls and no more.
WIDTHS: Mapping[Lane, Width] = {
    Lane.CONTENT: Width(threads=4, waiting=4000, may_wait=False),
    Lane.MAILBOX: Width(threads=4, waiting=1000),
    Lane.PASSWORDS: Width(threads=2, waiting=64),
    Lane.QUEUE: Width(threads=2, waiting=2000),
    Lane.GENERAL: Width(threads=2, waiting=500),
    # It waits for a stranger; what it writes is atomic, and whoever gave it the call tells it to end.
    Lane.CERTIFICATES: Width(threads=1, waiting=4, is_awaited=False),
}


@dataclass(slots=True)
class _Job:
    """One call on its way through a lane. `done` fires in the reactor thread."""

    call: Callable[..., Any]
    arguments: tuple[object, ...]
    done: "Deferred[Any]"


class _LaneThreads:
    """The threads of one lane; everything but `_work` runs in the reactor thread."""

    def __init__(self, reactor: IReactorFromThreads, name: str, width: Width, at_lull: AtLull) -> None:
        self._reactor = reactor
        self._at_lull = at_lull if width.may_wait else at_once
        self._name = name
        self._width = width
        self.is_awaited = width.is_awaited
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._unfinished = 0
        self._is_closed = False
        self._emptied: list[Deferred[None]] = []

    def run(self, call: Callable[..., T], arguments: tuple[object, ...]) -> "Deferred[T]":
        if self._is_closed or self._unfinished >= self._width.threads + self._width.waiting:
            raise Overloaded(self._name)
        # Cancelling gives up the answer, not the work: a thread cannot be stopped half-way through a write.
        done: Deferred[T] = Deferred()
        self._unfinished += 1
        if len(self._threads) < min(self._width.threads, self._unfinished):
            self._add_thread()
        self._at_lull(partial(self._jobs.put, _Job(call, arguments, done)))
        return done

    def close(self) -> "Deferred[None]":
        """Take nothing more; fires when the last call has ended."""
        emptied: Deferred[None] = Deferred()
        if not self._is_closed:
            self._is_closed = True
            for _ in self._threads:
                self._at_lull(partial(self._jobs.put, None))
        if self._unfinished:
            self._emptied.append(emptied)
        else:
            emptied.callback(None)
        return emptied

    def _add_thread(self) -> None:
        name = f"{self._name}-{len(self._threads) + 1}"
        thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            result: object
            try:
                result = job.call(*job.arguments)
            except BaseException:  # noqa: BLE001 - whatever it is, it belongs to the caller, never to this thread
                result = Failure()
            self._reactor.callFromThread(self._finish, job.done, result)
            # Nothing of the last call may live on while this thread waits for the next: a message, a password.
            del job, result

    def _finish(self, done: "Deferred[Any]", result: object) -> None:
        self._unfinished -= 1
        # A Deferred that was cancelled has fired already and swallows this one call.
        if isinstance(result, Failure):
            done.errback(result)
        else:
            done.callback(result)
        if self._is_closed and not self._unfinished:
            for emptied in self._emptied:
                emptied.callback(None)
            self._emptied.clear()


class BlockingLanes:
    """`mailserver.ports.Blocking`. Threads start with the first call that needs them, so after any fork of twistd.

    They are given their calls by `at_lull`.
    """

    def __init__(
        self, reactor: IReactorFromThreads, widths: Mapping[Lane, Width] = WIDTHS, at_lull: AtLull = at_once
    ) -> None:
        self._lanes = {lane: _LaneThreads(reactor, lane.value, widths[lane], at_lull) for lane in Lane}

    def run(self, lane: Lane, call: Callable[..., T], *args: object) -> Awaitable[T]:
        """The result of `call(*args)`, or its exception. Raises `Overloaded` when the lane is full or closed."""
        return self._lanes[lane].run(call, args)

    def close(self) -> "Deferred[None]":
        """Take nothing more; fires when every call that was taken has ended. Call it once more and it fires again."""
        closing = [(lane, lane.close()) for lane in self._lanes.values()]
        everything = DeferredList([closed for lane, closed in closing if lane.is_awaited])
        return everything.addCallback(lambda _: None)
