"""The queue's folders on disk: reading them at start, and every change afterwards. Blocking, no Twisted.

Who writes: the committer puts new message files in; everything else is changed here, by one thread at a time of the
process that holds the state lock. Readers (`mailserver queue list`) need no lock: every file is whole or absent.

What a crash (or a power cut) can leave, who cleans it up, and the test that shows it
(`tests/store/test_spool_crash.py`):

1. A file in `tmp/`: never acknowledged, or a state not in force yet. `prepare` at start removes it.
2. Message file, no state file: nothing has happened yet. Nobody cleans up; all recipients wait.
3. Message file and state file: the usual.
4. State file, no message file: the message was removed and its state not yet. `sweep_states` removes it.
5. A state with final recipients whose report is not marked: the report may or may not be on disk. The runner looks, for
   the state names the report's queue id: if that file is there it only marks it, else it makes it.
6. A state with nothing left to do: the message was not removed yet. The runner removes it, nothing is sent.
7. A message file not in the format (cut short, other octets): `load` moves it to `damaged/` and tells.
8. A state file not in the format: `load` moves the state to `damaged/` and tells. All recipients wait, which may repeat
   a delivery and loses none.
9. A message or state in a newer format: another release was here. Left in place, told, not sent.
10. A rule of the configuration holds a recipient, and the hold is not written yet: there is no state file, so the
   rules are asked again at start, before anybody is tried. (A hold by the operator is on disk when it is answered.)
11. Delivered at the next hop, state not written: nobody can know, so it is sent again (at least once).
12. A transcript, no message: the message was removed and its transcript not yet. `sweep_states` removes it. One that a
    power cut left empty or lost is written anew by the next attempt: it is for looking at and nothing depends on it.

A removal takes the message file first and syncs the folder before the state goes, so that a state with delivered marks
never disappears before its message.
"""

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mailserver.mail.envelope import Envelope
from mailserver.mail.ids import QueueId, is_queue_id
from mailserver.mail.trace import OUR_OWN
from mailserver.ports import Report, StorageFull, StorageTrouble, StoredContent
from mailserver.store.files import Files, storage_error
from mailserver.store.spool_format import MAX_HEAD_OCTETS, SpoolPaths, decode_head, encode_head, head_end
from mailserver.store.spool_json import Damaged, NewerFormat
from mailserver.store.spool_state import MAX_STATE_OCTETS, Progress, RecipientProgress, decode_state, encode_state
from mailserver.store.transcripts import MAX_CHARS, with_section

_FIRST_READ_OCTETS = 4096


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """One queued message as it is on disk. `size_octets` is its content's; `progress` has one element a recipient."""

    queue_id: QueueId
    received_at: float
    envelope: Envelope
    source: str
    content: StoredContent
    progress: Progress
    # Whether anything was written about it since it came.
    has_state: bool = False

    @property
    def size_octets(self) -> int:
        """Octets of content, CRLF line ends."""
        return self.content.length

    @property
    def is_done(self) -> bool:
        """Whether only its removal is left (row 6)."""
        return all(one.is_done for one in self.progress)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file of the queue that could not be used. `is_set_aside`: it is in `damaged/` now, else where it was.

    `may_pass`: the disk would not give it out just now; the file itself may be sound.
    """

    queue_id: str
    path: Path
    reason: str
    is_set_aside: bool
    may_pass: bool = False


@dataclass(frozen=True, slots=True)
class WriteState:
    """Put this state in force."""

    queue_id: QueueId
    progress: Progress


@dataclass(frozen=True, slots=True)
class Remove:
    """Take the message out of the queue. One that is gone already is fine."""

    queue_id: QueueId


@dataclass(frozen=True, slots=True)
class AddReport:
    """Put a message of our own making into the queue."""

    report: Report
    received_at: float


@dataclass(frozen=True, slots=True)
class WriteTranscript:
    """Keep what was said in an attempt that ended at `at`. Never answered with trouble: it is for looking at only."""

    queue_id: QueueId
    destination: str
    text: str
    at: float


Change = WriteState | Remove | AddReport | WriteTranscript


class Spool:
    """The folders below `<state>/queue`. Nothing is kept between calls."""

    def __init__(self, paths: SpoolPaths, files: Files) -> None:
        self.paths = paths
        self._files = files

    # --- start --------------------------------------------------------------------------------------------------------

    def prepare(self) -> int:
        """Make the folders and empty `tmp/` (row 1); the number of files removed. Raises `OSError`.

        Only under the state lock, before anything is accepted.
        """
        for folder in (self.paths.tmp, self.paths.messages, self.paths.states, self.paths.damaged):
            self._files.make_folders(str(folder))
        left = list(os.scandir(self.paths.tmp))
        for entry in left:
            self._files.discard(entry.path)
        return len(left)

    def ids(self) -> list[str]:
        """All names in `messages/`, oldest first; names that are no queue ids too, `load` deals with them."""
        with contextlib.suppress(FileNotFoundError):
            return sorted(entry.name for entry in os.scandir(self.paths.messages))
        return []

    def load(self, names: Iterable[str], *, may_set_aside: bool = True) -> Iterator[StoredMessage | Unreadable]:
        """Read these messages; what cannot be read is set aside or left, and told (rows 7 to 9).

        A file that has gone meanwhile is left out. Trouble with the disk is not damage: the file stays where it is.
        Without `may_set_aside` nothing is changed, so no lock is needed.
        """
        for name in names:
            queue_id = QueueId(name)
            try:
                if not is_queue_id(name):
                    raise Damaged("its name is not a queue id")
                yield from self._loaded(queue_id, may_set_aside)
            except FileNotFoundError:
                continue
            except NewerFormat as refusal:
                yield Unreadable(name, self.paths.message(queue_id), str(refusal), False)
            except OSError as trouble:
                yield Unreadable(name, self.paths.message(queue_id), str(storage_error(trouble)), False, may_pass=True)
            except Damaged as damage:
                yield self._damaged(name, self.paths.message(queue_id), str(damage), may_set_aside)

    def _loaded(self, queue_id: QueueId, may_set_aside: bool) -> Iterator[StoredMessage | Unreadable]:
        message = self._read_message(queue_id)
        try:
            yield self._with_state(message)
        except Damaged as damage:
            yield self._damaged(queue_id, self.paths.state(queue_id), str(damage), may_set_aside)
            yield message
        except NewerFormat as refusal:
            yield Unreadable(queue_id, self.paths.state(queue_id), str(refusal), False)

    def sweep_states(self, known: Iterable[str]) -> int:
        """Remove states and transcripts of messages that are not there (rows 4, 12); how many states. Raises `OSError`.

        `known` are the names that `ids` gave; a message that came later is looked for, so none loses its state.
        """
        orphans = {entry.name for entry in os.scandir(self.paths.states)}.difference(known)
        count = 0
        for name in orphans:
            if not self.paths.message(QueueId(name)).exists():
                self._files.discard(str(self.paths.state(QueueId(name))))
                count += 1
        with contextlib.suppress(FileNotFoundError):
            for name in {entry.name for entry in os.scandir(self.paths.transcripts)}.difference(known):
                if not self.paths.message(QueueId(name)).exists():
                    self._files.discard(str(self.paths.transcript(QueueId(name))))
        return count

    # --- reading one --------------------------------------------------------------------------------------------------

    def read(self, queue_id: QueueId) -> StoredMessage:
        """One message with its state. Raises `FileNotFoundError`, `OSError`, `Damaged` or `NewerFormat`."""
        return self._with_state(self._read_message(queue_id))

    def has(self, queue_id: QueueId) -> bool:
        """Whether the message is in the queue."""
        return self.paths.message(queue_id).exists()

    def read_content(self, content: StoredContent, limit: int) -> bytes:
        """The first `limit` octets of a content. Raises `OSError`."""
        with content.path.open("rb") as file:
            file.seek(content.offset)
            return file.read(min(limit, content.length))

    def read_transcript(self, queue_id: QueueId) -> str | None:
        """What was said in the last attempts; None when nothing is kept. Raises `OSError` or `Damaged`."""
        try:
            descriptor = _open_regular(str(self.paths.transcript(queue_id)))
        except FileNotFoundError:
            return None
        try:
            return _read_all(descriptor, 4 * MAX_CHARS).decode("utf-8", "replace")
        finally:
            os.close(descriptor)

    def _read_message(self, queue_id: QueueId) -> StoredMessage:
        path = self.paths.message(queue_id)
        descriptor = _open_regular(str(path))
        try:
            octets = _read_head(descriptor)
            size = os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)
        head = decode_head(octets)
        if head.queue_id != queue_id:
            raise Damaged("the file holds another message than its name says")
        return StoredMessage(
            queue_id,
            head.received_at,
            head.envelope,
            head.source,
            StoredContent(path, head.length, max(0, size - head.length)),
            (_UNTRIED,) * len(head.envelope.recipients),
        )

    def _with_state(self, message: StoredMessage) -> StoredMessage:
        try:
            descriptor = _open_regular(self.paths.state_name(message.queue_id))
        except FileNotFoundError:
            return message
        try:
            octets = _read_all(descriptor, MAX_STATE_OCTETS + 1)
        finally:
            os.close(descriptor)
        progress = decode_state(octets, message.queue_id, len(message.progress))
        return replace(message, progress=progress, has_state=True)

    def _damaged(self, name: str, path: Path, reason: str, may_set_aside: bool) -> Unreadable:
        """Move a damaged file away, never onto another."""
        if not may_set_aside:
            return Unreadable(name, path, reason, False)
        kind = "state" if path.parent == self.paths.states else "message"
        target = self.paths.damaged / f"{name}.{kind}"
        number = 1
        while target.exists():
            number += 1
            target = self.paths.damaged / f"{name}.{kind}.{number}"
        try:
            self._files.rename(str(path), str(target))
        except OSError as trouble:
            return Unreadable(name, path, f"{reason}; it could not be set aside: {storage_error(trouble)}", False)
        return Unreadable(name, target, reason, True)

    # --- changing -----------------------------------------------------------------------------------------------------

    def apply(self, changes: Sequence[Change]) -> list[StorageFull | StorageTrouble | None]:
        """Make these changes durable together; one answer each, in order, None for done.

        Reports first, then states, then removals; each folder is synced once. Changes of one message must not stand in
        one call. A change that was answered with trouble may or may not be in force: repeat it.
        """
        answers: dict[int, StorageFull | StorageTrouble] = {}
        messages, states = str(self.paths.messages), str(self.paths.states)
        written = [
            (number, self._prepared(change))
            for number, change in enumerate(changes)
            if isinstance(change, WriteState | AddReport)
        ]
        ready = []
        for number, prepared in written:
            if isinstance(prepared, _Written):
                ready.append((number, prepared))
            else:
                answers[number] = storage_error(prepared)
        for folder in (messages, states):
            self._put_in_force([item for item in ready if item[1].folder == folder], folder, answers)
        for change in changes:
            if isinstance(change, WriteTranscript):
                self._write_transcript(change)
        self._remove([(n, change.queue_id) for n, change in enumerate(changes) if isinstance(change, Remove)], answers)
        return [answers.get(number) for number in range(len(changes))]

    def _prepared(self, change: WriteState | AddReport) -> "_Written | OSError":
        """Write the new file under its temporary name and have the kernel begin."""
        try:
            if isinstance(change, WriteState):
                temporary, final = self.paths.temporary_state(change.queue_id), self.paths.state(change.queue_id)
                pieces: tuple[bytes, ...] = (encode_state(change.queue_id, change.progress),)
            else:
                report = change.report
                temporary, final = self.paths.temporary(report.queue_id), self.paths.message(report.queue_id)
                head = encode_head(report.queue_id, change.received_at, report.envelope, OUR_OWN)
                pieces = (head, report.content)
            written = _Written(str(temporary), str(final), str(final.parent), self._create(str(temporary)))
        except OSError as trouble:
            return trouble
        try:
            self._files.write(written.descriptor, pieces)
            self._files.start_writeback(written.descriptor)
        except OSError as trouble:
            self._drop(written)
            return trouble
        return written

    def _create(self, temporary: str) -> int:
        """A new file. What has its name was left by a command line that was killed: nobody else writes (row 1)."""
        try:
            return self._files.create(temporary)
        except FileExistsError:
            self._files.unlink(temporary)
            return self._files.create(temporary)

    def _put_in_force(
        self, items: list[tuple[int, "_Written"]], folder: str, answers: dict[int, StorageFull | StorageTrouble]
    ) -> None:
        if not items:
            return
        renamed = []
        for number, written in items:
            try:
                self._files.sync(written.descriptor)
                descriptor, written.descriptor = written.descriptor, -1
                self._files.close(descriptor)
                self._files.rename(written.temporary, written.final)
                renamed.append(number)
            except OSError as trouble:
                self._drop(written)
                answers[number] = storage_error(trouble)
        self._sync_folder(folder, renamed, answers)

    def _remove(self, items: list[tuple[int, QueueId]], answers: dict[int, StorageFull | StorageTrouble]) -> None:
        if not items:
            return
        gone = []
        for number, queue_id in items:
            try:
                with contextlib.suppress(FileNotFoundError):
                    self._files.unlink(str(self.paths.message(queue_id)))
                gone.append(number)
            except OSError as trouble:
                answers[number] = storage_error(trouble)
        self._sync_folder(str(self.paths.messages), gone, answers)
        for number, queue_id in items:
            if number not in answers:
                self._files.discard(str(self.paths.state(queue_id)))
                self._files.discard(str(self.paths.transcript(queue_id)))

    def _write_transcript(self, change: WriteTranscript) -> None:
        """Whole or not at all, but not durable: after a power cut the next attempt writes another."""
        temporary = str(self.paths.temporary_transcript(change.queue_id))
        try:
            if not self.has(change.queue_id):
                return
            old = self.read_transcript(change.queue_id) or ""
            self._files.make_folder(str(self.paths.transcripts))
            self._files.discard(temporary)
            descriptor = self._files.create(temporary)
            try:
                text = with_section(old, change.destination, change.text, change.at)
                self._files.write(descriptor, (text.encode("utf-8", "backslashreplace"),))
            finally:
                self._files.close(descriptor)
            self._files.rename(temporary, str(self.paths.transcript(change.queue_id)))
        except (OSError, Damaged):
            self._files.discard(temporary)

    def _sync_folder(self, folder: str, numbers: list[int], answers: dict[int, StorageFull | StorageTrouble]) -> None:
        try:
            self._files.sync_folder(folder)
        except OSError as trouble:
            answers.update(dict.fromkeys(numbers, storage_error(trouble)))

    def _drop(self, written: "_Written") -> None:
        if written.descriptor >= 0:
            with contextlib.suppress(OSError):  # the file is thrown away anyway
                self._files.close(written.descriptor)
            written.descriptor = -1
        self._files.discard(written.temporary)


_UNTRIED = RecipientProgress()


@dataclass(slots=True)
class _Written:
    temporary: str
    final: str
    folder: str
    descriptor: int


def _open_regular(path: str) -> int:
    """Open for reading; a link, folder, FIFO or device is damage (a FIFO would hang us for ever)."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as trouble:
        if os.path.islink(path):  # noqa: PTH114 - a path is made only for who needs one
            raise Damaged("it is a link") from trouble
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Damaged("it is not a regular file")
    return descriptor


def _read_head(descriptor: int) -> bytes:
    """The beginning of a message file up to the end of its first part, and some content with it."""
    octets = os.read(descriptor, _FIRST_READ_OCTETS)
    if not octets.startswith(b"mailserver-queue 1\n"):
        return octets
    # The end may lie across two reads, so the search begins one octet early.
    pieces, total = [octets], len(octets)
    while not head_end(octets) and total <= MAX_HEAD_OCTETS:
        more = os.read(descriptor, 1 << 18)
        if not more:
            break
        octets = pieces[-1][-1:] + more
        pieces.append(more)
        total += len(more)
    return b"".join(pieces)


def _read_all(descriptor: int, limit: int) -> bytes:
    pieces = []
    while limit > 0 and (piece := os.read(descriptor, min(limit, 1 << 20))):
        pieces.append(piece)
        limit -= len(piece)
    return b"".join(pieces)
