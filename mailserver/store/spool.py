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
   the state names the report's queue id: if that file was there at the start it only marks it, else it makes it. A
   report is sent only when it is marked, so that it cannot have been sent and removed before.
6. A state with nothing left to do: the message was not removed yet. The runner removes it, nothing is sent.
7. A message file not in the format (cut short, other octets): `load` moves it to `damaged/` and tells.
8. A state file not in the format: `load` moves the state to `damaged/` and tells. All recipients wait, which may repeat
   a delivery and loses none.
9. A message or state in a newer format: another release was here. Left in place, told, not sent.
10. A rule of the configuration holds a recipient, and the hold is not written yet: there is no state file, so the
   rules are asked again at start, before anybody is tried. (A hold by the operator is on disk when it is answered.)
11. Delivered at the next hop, state not written: nobody can know, so it is sent again (at least once). Filed in a
    mailbox here, state not written: the file's name tells, so it is not filed again (`refile`).
12. A transcript, no message: the message was removed and its transcript not yet. `sweep_states` removes it. One that a
    power cut left empty or lost is written anew by the next attempt: it is for looking at and nothing depends on it.
13. A message that was delivered at the first attempt and whose removal a power cut has undone: the folder is synced at
   most half a second after such a removal. It is row 2 and is sent again (at least once). A kill undoes no removal.
14. An alias with several targets is done and the copy that it becomes is not marked: as a report in row 5. The copy's
   queue id is in the alias's state, and it is sent only when it is marked, so no target gets it twice.

The steps of a change are in `spool_changes`. Beyond these rows, `tests/faults` stops at every step of all of them, with
every state of the disk that a power cut may leave.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mailserver.mail.envelope import Envelope
from mailserver.mail.ids import QueueId, is_queue_id
from mailserver.ports import StorageFull, StorageTrouble, StoredContent
from mailserver.store.files import Files, storage_error
from mailserver.store.spool_changes import Change, SpoolChanges
from mailserver.store.spool_format import SpoolPaths, decode_head
from mailserver.store.spool_json import Damaged, NewerFormat
from mailserver.store.spool_reading import open_regular, read_all, read_head, read_transcript
from mailserver.store.spool_state import MAX_STATE_OCTETS, Progress, RecipientProgress, decode_state

_UNTRIED = RecipientProgress()


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


def untried(
    queue_id: QueueId, received_at: float, envelope: Envelope, source: str, content: StoredContent
) -> StoredMessage:
    """A message for which nothing has happened yet."""
    return StoredMessage(queue_id, received_at, envelope, source, content, (_UNTRIED,) * len(envelope.recipients))


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


class Spool:
    """The folders below `<state>/queue`. Nothing is kept between calls."""

    def __init__(self, paths: SpoolPaths, files: Files) -> None:
        self.paths = paths
        self._files = files
        self._changes = SpoolChanges(paths, files)

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

    def read_content(self, content: StoredContent, limit: int) -> bytes:
        """The first `limit` octets of a content. Raises `OSError`."""
        with content.path.open("rb") as file:
            file.seek(content.offset)
            return file.read(min(limit, content.length))

    def read_transcript(self, queue_id: QueueId) -> str | None:
        """What was said in the last attempts; None when nothing is kept. Raises `OSError` or `Damaged`."""
        return read_transcript(self.paths.transcript(queue_id))

    def _read_message(self, queue_id: QueueId) -> StoredMessage:
        path = self.paths.message(queue_id)
        descriptor = open_regular(str(path))
        try:
            octets = read_head(descriptor)
            size = os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)
        head = decode_head(octets)
        if head.queue_id != queue_id:
            raise Damaged("the file holds another message than its name says")
        content = StoredContent(path, head.length, max(0, size - head.length))
        return untried(queue_id, head.received_at, head.envelope, head.source, content)

    def _with_state(self, message: StoredMessage) -> StoredMessage:
        try:
            descriptor = open_regular(self.paths.state_name(message.queue_id))
        except FileNotFoundError:
            return message
        try:
            octets = read_all(descriptor, MAX_STATE_OCTETS + 1)
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
        """Make these changes durable together; one answer each, in order, None for done (`SpoolChanges.apply`)."""
        return self._changes.apply(changes)
