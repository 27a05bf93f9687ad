"""The thread that keeps the journal: takes events from memory, writes them in batches, prunes. No Twisted.

`add` is called in the reactor thread for every event and only puts it into a queue. Mail never waits for its history:
when the queue is full, its oldest entries are dropped; when the disk is full or the file is of no use, the history
pauses. Each such trouble is told once, when it begins, and that is all that happens.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from mailserver.config import Journal as JournalSettings
from mailserver.maillog import MailEvent, Sink, Trouble
from mailserver.store.files import DISK, Files
from mailserver.store.journal import Journal
from mailserver.store.journal_facts import Fact, Facts, lost
from mailserver.store.journal_format import (
    JournalDamaged,
    JournalNewer,
    JournalUnavailable,
    remove_remains,
    set_aside,
)

MAX_WAITING = 20_000
_BATCH = 2000
# Room that is left free when a batch goes back into the queue, for what comes meanwhile.
_MARGIN = 100
_TOLD_AGAIN_S = 6 * 3600.0
_WHAT = "the journal"
_MAIL_GOES_ON = "mail goes on without its history"


@dataclass(frozen=True, slots=True)
class JournalRules:
    """What is kept, and the writer's times in seconds.

    `gather_s`: how long a batch waits for more; `retry_s`: how long after trouble it is tried again; `look_s`: how
    often old rows are looked for.
    """

    keep_s: float = 90 * 86400.0
    max_octets: int = 500_000_000
    subjects: bool = True
    message_ids: bool = True
    gather_s: float = 1.0
    retry_s: float = 10.0
    look_s: float = 60.0


def rules_of(settings: JournalSettings) -> JournalRules:
    """As the configuration has it."""
    return JournalRules(settings.keep, settings.max_size, settings.subjects, settings.message_ids)


def write_alone(path: Path, rules: JournalRules, events: Iterable[MailEvent], tell: Sink) -> None:
    """Note these at once, for a process that holds the state lock in the server's place. Blocks; never raises."""
    writer = JournalWriter(path, rules, tell)
    for event in events:
        writer.add(event)
    writer.stop()
    writer.run()


class JournalWriter:
    """`add`, `flush` and `stop` may be called from any one thread; `run` is the writer's own.

    `tell` takes the troubles; it is called in the writer's thread. `now` answers seconds since the epoch.
    """

    def __init__(
        self,
        path: Path,
        rules: JournalRules,
        tell: Sink,
        now: Callable[[], float] = time.time,
        files: Files = DISK,
    ) -> None:
        self._path = path
        self._files = files
        self._rules = rules
        self._tell = tell
        self._now = now
        self._facts = Facts(subjects=rules.subjects, message_ids=rules.message_ids)
        self._waiting: deque[tuple[float, MailEvent]] = deque(maxlen=MAX_WAITING)
        self._is_awake = False
        self._is_off = False
        self._is_stopping = False
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._flushes: deque[Callable[[bool], None]] = deque()
        self._journal: Journal | None = None
        self._dropped = 0
        self._dropped_seen = 0
        self._lost = 0
        self._told: dict[str, float] = {}
        self._next_look = 0.0
        self._is_pruning = True

    # --- from outside -------------------------------------------------------------------------------------------------

    def add(self, event: MailEvent) -> None:
        """Note an event. Never blocks, never raises for the journal's sake."""
        if self._is_off or event.is_log_only:
            return
        if len(self._waiting) >= MAX_WAITING:
            self._dropped += 1
        self._waiting.append((self._now(), event))
        if not self._is_awake:
            self._is_awake = True
            self._wake.set()

    def flush(self, done: Callable[[bool], None]) -> None:
        """Write what was added so far; then `done`, in the writer's thread, with whether it is in the file."""
        self._flushes.append(done)
        self._hurry.set()
        self._wake.set()

    def stop(self) -> None:
        """Write what waits, and end `run`."""
        self._is_stopping = True
        self._hurry.set()
        self._wake.set()

    # --- the thread ---------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """The thread's work, until `stop`."""
        while not self._is_stopping:
            # Also without events: what is old must go.
            self._wake.wait(0.05 if self._is_pruning and self._journal is not None else self._rules.look_s)
            self._wake.clear()
            self._is_awake = False
            if self._waiting:
                self._hurry.wait(self._rules.gather_s)
            self.turn()
        self.turn()
        if self._journal is not None:
            self._journal.close()

    def turn(self) -> None:
        """Write all that waits, prune a little, answer who asked for a flush. Never raises."""
        self._hurry.clear()
        flushes = [self._flushes.popleft() for _ in range(len(self._flushes))]
        is_written = self._try_turn()
        for done in flushes:
            done(is_written)
        if not is_written and not self._is_off and not self._is_stopping and self._waiting:
            self._hurry.wait(self._rules.retry_s)

    def _try_turn(self) -> bool:
        """Whether all that waited is written."""
        try:
            try:
                return self._write_and_prune()
            except JournalDamaged as damage:
                self._set_aside(damage)
                return self._write_and_prune()
        except JournalNewer as newer:
            self._is_off = True
            self._waiting.clear()
            self._trouble("newer", str(newer), "mail goes on; no history is kept")
        except JournalUnavailable as unavailable:
            self._let_go()
            self._trouble("unavailable", str(unavailable), _MAIL_GOES_ON)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is about history: told, and the thread lives
            self._let_go()
            self._trouble("unexpected", f"{type(error).__name__}: {error}", _MAIL_GOES_ON)
        return False

    def _write_and_prune(self) -> bool:
        is_written = self._write_all()
        self._prune()
        return is_written

    def _write_all(self) -> bool:
        """True when nothing of what waited is left; raises when the journal cannot take it."""
        for _ in range(MAX_WAITING // _BATCH + 1):
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), _BATCH))]
            if not batch:
                break
            try:
                self._write(batch)
            except (JournalUnavailable, JournalDamaged):
                self._put_back(batch)
                raise
            except Exception:
                # What nobody foresaw is not tried again, or it would stand in the way for ever.
                self._lost += len(batch)
                raise
        return not self._is_off

    def _write(self, batch: list[tuple[float, MailEvent]]) -> None:
        facts: list[Fact] = [fact for at, event in batch if (fact := self._facts.of(at, event)) is not None]
        self._count_dropped()
        if self._lost:
            facts.insert(0, lost(batch[0][0], self._lost))
        if facts:
            self._open().write(facts)
        self._lost = 0

    def _count_dropped(self) -> None:
        dropped = self._dropped - self._dropped_seen
        if dropped:
            self._dropped_seen += dropped
            self._lost += dropped
            self._trouble("full", "more happens than can be written down", f"{_MAIL_GOES_ON}, the oldest is dropped")

    def _open(self) -> Journal:
        """The journal, opened anew when it was deleted or replaced meanwhile."""
        if self._journal is not None and not self._journal.is_in_place:
            self._let_go()
            try:
                remove_remains(self._path, self._files)
            except OSError as error:
                raise JournalUnavailable(f"{error.filename}: {error.strerror}") from error
        if self._journal is None:
            self._journal = Journal(self._path, self._files)
            self._is_pruning = True
        return self._journal

    def _put_back(self, batch: list[tuple[float, MailEvent]]) -> None:
        """The newest of it, as far as there is room."""
        room = max(0, MAX_WAITING - _MARGIN - len(self._waiting))
        self._lost += max(0, len(batch) - room)
        for item in reversed(list(islice(batch, max(0, len(batch) - room), None))):
            self._waiting.appendleft(item)

    def _prune(self) -> None:
        """One slice, if it is time for it."""
        if self._is_off or not (self._is_pruning or time.monotonic() >= self._next_look):
            return
        if self._journal is None and not self._path.exists():
            self._is_pruning = False
            return
        self._next_look = time.monotonic() + self._rules.look_s
        self._is_pruning = self._open().prune(self._now() - self._rules.keep_s, self._rules.max_octets)

    def _let_go(self) -> None:
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def _set_aside(self, damage: JournalDamaged) -> None:
        self._let_go()
        try:
            where = set_aside(self._path, self._files)
        except OSError as error:
            raise JournalUnavailable(f"{damage}; it cannot be set aside: {error.strerror}") from error
        self._trouble("damaged", str(damage), f"a new one is begun; the old one is {where}")

    def _trouble(self, kind: str, reason: str, effect: str) -> None:
        """Told once, and once more when it is still so much later."""
        now = time.monotonic()
        if now - self._told.get(kind, float("-inf")) > _TOLD_AGAIN_S:
            self._told[kind] = now
            self._tell(Trouble("", _WHAT, reason, effect))
