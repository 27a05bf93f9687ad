"""Changes of the queue's folders on disk, made durable in groups. Blocking, no Twisted.

What a crash can leave between the steps stands in the table of `spool`. A removal takes the message file first and
syncs the folder before the state goes, so that a state with delivered marks never disappears before its message. A
message without a state, delivered at the first attempt, leaves nothing else: its removal may be synced a moment later,
together with many others (row 13).
"""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

from mailserver.mail.ids import QueueId
from mailserver.ports import Report, StorageFull, StorageTrouble
from mailserver.store.files import Files, storage_error
from mailserver.store.spool_format import SpoolPaths, encode_head
from mailserver.store.spool_json import Damaged
from mailserver.store.spool_reading import read_transcript
from mailserver.store.spool_state import Progress, encode_state
from mailserver.store.transcripts import with_section


@dataclass(frozen=True, slots=True)
class WriteState:
    """Put this state in force."""

    queue_id: QueueId
    progress: Progress


@dataclass(frozen=True, slots=True)
class Remove:
    """Take the message out of the queue. One that is gone already is fine.

    `may_sync_later`: `SyncRemovals` follows soon, and makes it durable if nothing was written about the message before.
    """

    queue_id: QueueId
    may_sync_later: bool = False


@dataclass(frozen=True, slots=True)
class SyncRemovals:
    """Make all removals so far durable."""


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


Change = WriteState | Remove | SyncRemovals | AddReport | WriteTranscript


class SpoolChanges:
    """Writes below `<state>/queue`, by one thread at a time. Nothing is kept between calls."""

    def __init__(self, paths: SpoolPaths, files: Files) -> None:
        self._paths = paths
        self._files = files

    def apply(self, changes: Sequence[Change]) -> list[StorageFull | StorageTrouble | None]:
        """Make these changes durable together; one answer each, in order, None for done.

        Reports first, then states, then removals; each folder is synced once. Changes of one message must not stand in
        one call. A change that was answered with trouble may or may not be in force: repeat it.
        """
        answers: dict[int, StorageFull | StorageTrouble] = {}
        messages, states = str(self._paths.messages), str(self._paths.states)
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
        self._remove(changes, answers)
        return [answers.get(number) for number in range(len(changes))]

    def _prepared(self, change: WriteState | AddReport) -> "_Written | OSError":
        """Write the new file under its temporary name and have the kernel begin."""
        try:
            if isinstance(change, WriteState):
                temporary, final = self._paths.temporary_state(change.queue_id), self._paths.state(change.queue_id)
                pieces: tuple[bytes, ...] = (encode_state(change.queue_id, change.progress),)
            else:
                report = change.report
                temporary, final = self._paths.temporary(report.queue_id), self._paths.message(report.queue_id)
                head = encode_head(report.queue_id, change.received_at, report.envelope, report.source)
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

    def _remove(self, changes: Sequence[Change], answers: dict[int, StorageFull | StorageTrouble]) -> None:
        """The message files, then their folder's sync where it must not wait, then states and transcripts."""
        waiting = [number for number, change in enumerate(changes) if isinstance(change, SyncRemovals)]
        with_more: list[tuple[int, QueueId]] = []
        for number, change in enumerate(changes):
            if not isinstance(change, Remove):
                continue
            queue_id = change.queue_id
            try:
                with contextlib.suppress(FileNotFoundError):
                    self._files.unlink(self._paths.message_name(queue_id))
            except OSError as trouble:
                answers[number] = storage_error(trouble)
                continue
            if not change.may_sync_later or os.path.lexists(self._paths.state_name(queue_id)):
                with_more.append((number, queue_id))
        if not waiting and not with_more:
            return
        self._sync_folder(str(self._paths.messages), [*waiting, *(number for number, _ in with_more)], answers)
        for number, queue_id in with_more:
            if number not in answers:
                self._files.discard(self._paths.state_name(queue_id))
                self._files.discard(str(self._paths.transcript(queue_id)))

    def _write_transcript(self, change: WriteTranscript) -> None:
        """Whole or not at all, but not durable: after a power cut the next attempt writes another."""
        temporary = str(self._paths.temporary_transcript(change.queue_id))
        try:
            if not self._paths.message(change.queue_id).exists():
                return
            old = read_transcript(self._paths.transcript(change.queue_id)) or ""
            self._files.make_folder(str(self._paths.transcripts))
            self._files.discard(temporary)
            descriptor = self._files.create(temporary)
            try:
                text = with_section(old, change.destination, change.text, change.at)
                self._files.write(descriptor, (text.encode("utf-8", "backslashreplace"),))
            finally:
                self._files.close(descriptor)
            self._files.rename(temporary, str(self._paths.transcript(change.queue_id)))
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


@dataclass(slots=True)
class _Written:
    temporary: str
    final: str
    folder: str
    descriptor: int
