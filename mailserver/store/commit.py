"""Everything accepted goes to disk here: the blocking half of group commit (design sections 4, 5 and 8).

`CommitWriter.commit` takes all messages that wait and makes each durable in all its places: one file per mailbox, one
spool file for the recipients that are not here (or whose mailbox is in trouble), and one for each report: those that
are due anyway, and the success report about copies that are filed. The order is

1. prepare: every file is written under its temporary name, and the kernel is told to begin;
2. sync every file;
3. rename, spool files first;
4. sync every folder once.

A failure before step 3 removes everything of that message, so that a 451 causes no duplicate. A mailbox that cannot be
written fails nobody else: its recipients join the spool file (promise 2). One message's failure never touches another.

States that a crash can leave, and who cleans them up:

| state | acknowledged | cleaned up by |
|---|---|---|
| temporary files in a Maildir's `tmp/` or the queue's | no | the sweeps at start |
| some of a message's files renamed, others not | no | nobody: the sender repeats, which may show a message twice |
| all renamed, a folder not synced | no | the same |
| all synced | perhaps | complete |
"""

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from mailserver.mail.envelope import Envelope, Recipient
from mailserver.mail.ids import QueueId
from mailserver.mail.trace import OUR_OWN
from mailserver.ports import Acceptance, Filed, LocalCopy, Report, StorageFull, StorageTrouble, StoredContent
from mailserver.store.files import Files, storage_error
from mailserver.store.large import LargeContent, Place
from mailserver.store.maildir import Maildirs
from mailserver.store.maildir_names import unique_of
from mailserver.store.spool_format import SpoolPaths, encode_head, waiting_recipient

# A content whose mailbox could not be opened, until it is copied to its places; swept with the other temporaries.
LOOSE_SUFFIX = ".content"

Content = bytes | LargeContent
Result = Filed | StorageFull | StorageTrouble


@dataclass(slots=True)
class _File:
    """One file on its way: written as `temporary`, to be called `final`, whose folder must be synced."""

    temporary: str
    final: str
    folder: str
    descriptor: int
    copy: LocalCopy | None = None


@dataclass(slots=True)
class _Job:
    acceptance: Acceptance
    content: Content
    local: list[_File] = field(default_factory=list)
    spool: list[_File] = field(default_factory=list)
    spooled: list[tuple[LocalCopy, str]] = field(default_factory=list)
    report: Report | None = None
    stored: StoredContent | None = None
    error: StorageFull | StorageTrouble | None = None

    def files(self) -> Iterator[_File]:
        yield from self.spool
        yield from self.local


class CommitWriter:
    """Writes groups of accepted messages. One instance may serve several threads: it keeps nothing between calls."""

    def __init__(self, files: Files, maildirs: Maildirs, spool: SpoolPaths) -> None:
        self._files = files
        self._maildirs = maildirs
        self._spool = spool

    def commit(self, group: Sequence[tuple[Acceptance, Content]]) -> list[Result]:
        """Make every message of `group` durable. Blocks; all is on disk when it returns. One result each, in order.

        An `OSError` becomes that message's `StorageFull` or `StorageTrouble`, with nothing of it left behind.
        """
        jobs = [_Job(acceptance, content) for acceptance, content in group]
        for job in jobs:
            self._prepare(job)
        self._sync_files(jobs)
        for job in _alive(jobs):
            self._rename(job)
        self._sync_folders(jobs)
        return [self._result(job) for job in jobs]

    def open_large(self, acceptance: Acceptance) -> LargeContent:
        """Begin a content too large for memory where it will stay (see `large`). Blocks; raises `OSError`."""
        for copy in acceptance.local:
            head = (copy.trace + acceptance.received).replace(b"\r", b"")
            try:
                path, descriptor = self._maildirs.create(
                    self._maildirs.folder(copy.mailbox), self._maildirs.temporary_name()
                )
            except OSError:
                continue  # tried again at the end; until then the content waits elsewhere
            return LargeContent(self._files, path, descriptor, Place.MAILDIR, head, copy)
        path = str(self._spool.temporary(acceptance.queue_id))
        if acceptance.local:
            path += LOOSE_SUFFIX
            return LargeContent(self._files, path, self._files.create(path), Place.LOOSE)
        envelope = acceptance.envelope.with_recipients(acceptance.remote)
        head = encode_head(acceptance.queue_id, acceptance.received_at, envelope, acceptance.source)
        return LargeContent(self._files, path, self._files.create(path), Place.SPOOL, head + acceptance.received)

    # --- 1: prepare ---------------------------------------------------------------------------------------------------

    def _prepare(self, job: _Job) -> None:
        if isinstance(job.content, LargeContent) and job.content.error is not None:
            job.error = job.content.error
            return
        for copy in job.acceptance.local:
            try:
                job.local.append(self._write_local(job, copy))
            except OSError as error:
                job.spooled.append((copy, str(storage_error(error))))
        try:
            self._write_spool(job)
            self._write_reports(job)
        except (OSError, StorageTrouble) as error:
            self._give_up(job, error)
            return
        for file in job.files():
            self._files.start_writeback(file.descriptor)

    def _write_local(self, job: _Job, copy: LocalCopy) -> _File:
        """Content is stored with LF; deleting every CR is exact, because a bare one was refused before (promise 5)."""
        head = (copy.trace + job.acceptance.received).replace(b"\r", b"")
        folder = self._maildirs.folder(copy.mailbox, copy.folder)
        content = job.content
        if isinstance(content, LargeContent):
            stored, lines = content.lf_octets + len(head), content.line_ends + head.count(b"\n")
            name = self._maildirs.name(stored, stored + lines)
            if content.copy is not None and content.copy.mailbox is copy.mailbox:
                # The file it was written to while it came only needs its real name, and perhaps another folder.
                if copy.folder:
                    self._maildirs.ensure(folder)
                return _File(
                    content.path,
                    f"{folder}/new/{name}",
                    f"{folder}/new",
                    self._files.duplicate(content.descriptor),
                    copy,
                )
        else:
            body = content.replace(b"\r", b"")
            lines = len(content) - len(body) + head.count(b"\n")
            stored = len(head) + len(body)
            name = self._maildirs.name(stored, stored + lines)
        path, descriptor = self._maildirs.create(folder, name)
        file = _File(path, f"{folder}/new/{name}", f"{folder}/new", descriptor, copy)
        self._fill(file, head, (body,) if not isinstance(content, LargeContent) else content.with_lf())
        return file

    def _write_spool(self, job: _Job) -> None:
        """The one spool file of this message: remote recipients, and those whose mailbox is in trouble."""
        acceptance, content = job.acceptance, job.content
        recipients = acceptance.remote + tuple(waiting_recipient(copy) for copy, _ in job.spooled)
        if not recipients:
            return
        if isinstance(content, LargeContent) and content.place is Place.SPOOL:
            final = str(self._spool.message(acceptance.queue_id))
            job.spool.append(
                _File(content.path, final, os.path.dirname(final), self._files.duplicate(content.descriptor))
            )
            return
        envelope = acceptance.envelope.with_recipients(recipients)
        file, offset = self._spool_file(acceptance.queue_id, envelope, acceptance, acceptance.received, content)
        job.spool.append(file)
        if isinstance(content, bytes):
            octets = acceptance.received + content
            path = self._spool.message(acceptance.queue_id)
            job.stored = StoredContent(path, offset, len(octets), octets)

    def _write_reports(self, job: _Job) -> None:
        job.report = _success_report(job)
        for report in (*job.acceptance.reports, *([job.report] if job.report is not None else [])):
            file, _ = self._spool_file(report.queue_id, report.envelope, job.acceptance, b"", report.content)
            job.spool.append(file)

    def _spool_file(
        self, queue_id: QueueId, envelope: Envelope, acceptance: Acceptance, received: bytes, content: Content
    ) -> tuple[_File, int]:
        """The file, and where in it the content begins (with `received`)."""
        # A report that goes with it is none of the client's making.
        source = acceptance.source if queue_id == acceptance.queue_id else OUR_OWN
        head = encode_head(queue_id, acceptance.received_at, envelope, source)
        temporary = str(self._spool.temporary(queue_id))
        final = str(self._spool.message(queue_id))
        file = _File(temporary, final, os.path.dirname(final), self._files.create(temporary))
        self._fill(file, head + received, (content,) if isinstance(content, bytes) else content.with_crlf())
        return file, len(head)

    def _fill(self, file: _File, head: bytes, pieces: Iterable[bytes]) -> None:
        """Write head and content; what was begun and failed is removed."""
        try:
            if isinstance(pieces, tuple):
                self._files.write(file.descriptor, (head, *pieces))
                return
            self._files.write(file.descriptor, (head,))
            for piece in pieces:
                self._files.write(file.descriptor, (piece,))
        except OSError:
            self._drop(file)
            raise

    # --- 2: sync ------------------------------------------------------------------------------------------------------

    def _sync_files(self, jobs: list[_Job]) -> None:
        for job in _alive(jobs):
            try:
                for file in job.spool:
                    self._sync(file)
            except OSError as error:
                self._give_up(job, error)
                continue
            for file in list(job.local):
                try:
                    self._sync(file)
                except OSError as error:
                    self._spool_instead(job, file, error, is_renaming=False)
                    if job.error is not None:
                        break

    def _sync(self, file: _File) -> None:
        self._files.sync(file.descriptor)
        descriptor, file.descriptor = file.descriptor, -1
        self._files.close(descriptor)

    def _spool_instead(self, job: _Job, file: _File, error: OSError, *, is_renaming: bool) -> None:
        """A mailbox that failed after the others were prepared: its recipients get into a new spool file.

        Called while the files are synced, and again while they are renamed (then the new spool file takes the place of
        the one that has its final name already). The report is written anew too, for it must not tell of this mailbox.
        """
        assert file.copy is not None
        job.local.remove(file)
        job.spooled.append((file.copy, str(storage_error(error))))
        final = str(self._spool.message(job.acceptance.queue_id))
        olds, job.spool = job.spool, []
        for old in olds:
            self._drop(old)
            if is_renaming and old.final != final:
                self._files.discard(old.final)
        try:
            if isinstance(job.content, LargeContent) and job.content.path == file.temporary and not is_renaming:
                # After a sync that failed, nobody knows what the file holds; it was the only whole copy.
                raise error
            self._write_spool(job)
            self._write_reports(job)
            for one in job.spool:
                self._sync(one)
            if is_renaming:
                for one in job.spool:
                    self._files.rename(one.temporary, one.final)
        except (OSError, StorageTrouble) as second:
            self._files.discard(final)
            self._take_back(job, second)
        self._drop(file)

    # --- 3: rename ----------------------------------------------------------------------------------------------------

    def _rename(self, job: _Job) -> None:
        try:
            for file in job.spool:
                self._files.rename(file.temporary, file.final)
        except OSError as error:
            self._take_back(job, error)
            return
        for file in list(job.local):
            try:
                self._maildirs.move_in(file.temporary, file.final)
            except OSError as error:
                self._spool_instead(job, file, error, is_renaming=True)
                if job.error is not None:
                    return

    # --- 4: folders ---------------------------------------------------------------------------------------------------

    def _sync_folders(self, jobs: list[_Job]) -> None:
        failed: dict[str, OSError | None] = {}
        for job in _alive(jobs):
            for folder in {file.folder for file in job.files()}:
                if folder not in failed:
                    failed[folder] = self._try_sync_folder(folder)
                error = failed[folder]
                if error is not None:
                    self._take_back(job, error)
                    break

    def _try_sync_folder(self, folder: str) -> OSError | None:
        try:
            self._files.sync_folder(folder)
        except OSError as error:
            return error
        return None

    # --- ends ---------------------------------------------------------------------------------------------------------

    def _give_up(self, job: _Job, error: OSError | StorageTrouble) -> None:
        job.error = storage_error(error) if isinstance(error, OSError) else error
        for file in job.files():
            self._drop(file)

    def _take_back(self, job: _Job, error: OSError | StorageTrouble) -> None:
        """Give up after names may have become visible: they go too, so that the sender's next try is no duplicate."""
        self._give_up(job, error)
        for file in job.files():
            self._files.discard(file.final)

    def _drop(self, file: _File) -> None:
        if file.descriptor >= 0:
            descriptor, file.descriptor = file.descriptor, -1
            with contextlib.suppress(OSError):  # the content is thrown away anyway
                self._files.close(descriptor)
        self._files.discard(file.temporary)

    def _result(self, job: _Job) -> Result:
        if isinstance(job.content, LargeContent):
            is_used = any(file.temporary == job.content.path for file in job.files())
            if job.error is not None or not is_used:
                job.content.discard()
            job.content.close()
        if job.error is not None:
            return job.error
        filed = [(file.copy, unique_of(file.final.rpartition("/")[2])) for file in job.local if file.copy is not None]
        return Filed(
            tuple(copy for copy, _ in filed),
            tuple(job.spooled),
            job.report,
            files=tuple(name for _, name in filed),
            stored=job.stored,
        )


def _alive(jobs: list[_Job]) -> Iterator[_Job]:
    return (job for job in jobs if job.error is None)


def _success_report(job: _Job) -> Report | None:
    """The report about those who have their copies, all of them; the others are reported by the queue."""
    success = job.acceptance.success
    if success is None:
        return None
    waiting = {recipient for copy, _ in job.spooled for recipient in copy.recipients}
    told = tuple(recipient for recipient in success.recipients if recipient not in waiting)
    if told == success.recipients:
        return success.report
    return success.fewer(told) if told else None


def spool_recipients(acceptance: Acceptance, result: Filed) -> tuple[Recipient, ...]:
    """The recipients that a successful commit left to the queue, in the order of the spool file."""
    return acceptance.remote + tuple(waiting_recipient(copy) for copy, _ in result.spooled)
