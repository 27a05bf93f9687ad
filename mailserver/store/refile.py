"""Filing a message that waited in the queue into one Maildir (blocking, no Twisted)."""

import os
from collections.abc import Iterator

from mailserver.mail.address import Mailbox
from mailserver.mail.ids import QueueId, is_queue_id, made_at, number_of
from mailserver.ports import StorageTrouble, StoredContent
from mailserver.store.files import Files, storage_error
from mailserver.store.maildir import Maildirs
from mailserver.store.maildir_names import unique_of

_BLOCK_OCTETS = 1 << 20


def file_stored(
    files: Files, maildirs: Maildirs, mailbox: Mailbox, trace: bytes, content: StoredContent, folder_name: str = ""
) -> str:
    """Write `trace` (CRLF) and the stored content (CRLF) into the mailbox or a folder of it, with LF line ends.

    Durable when it returns the unique part of the file's name. Raises `StorageFull` or `StorageTrouble`; then nothing
    is left behind. A crash in between leaves a file in `tmp/`, or the message filed and still queued. So the counter in
    the name is the queue id as a number: a message from before our start that is there under it is not filed again.
    """
    folder = maildirs.folder(mailbox, folder_name)
    temporary = final = ""
    counter, is_from_before = _of_queue(content, maildirs.started_at)
    try:
        temporary, descriptor = maildirs.create(folder, maildirs.temporary_name())
        try:
            head = trace.replace(b"\r", b"")
            files.write(descriptor, (head,))
            stored, line_ends = len(head), head.count(b"\n")
            for block in _blocks(content):
                line_ends += block.count(b"\n")
                block = block.replace(b"\r", b"")
                stored += len(block)
                files.write(descriptor, (block,))
            files.sync(descriptor)
        finally:
            files.close(descriptor)
        found = maildirs.find(folder, counter, stored) if is_from_before else ""
        if found:
            files.discard(temporary)
            place, _, name = found.rpartition("/")
            files.sync_folder(place)
            return unique_of(name)
        name = maildirs.name(stored, stored + line_ends, counter)
        final = f"{folder}/new/{name}"
        maildirs.move_in(temporary, final)
        files.sync_folder(f"{folder}/new")
        return unique_of(name)
    except (OSError, StorageTrouble) as error:
        if temporary:
            files.discard(temporary)
        if final:
            # It will be filed again, and then it must not be there twice.
            files.discard(final)
        if isinstance(error, OSError):
            raise storage_error(error) from error
        raise


def _of_queue(content: StoredContent, started_at: float) -> tuple[int, bool]:
    """The queue id as a number, 0 when the file is none of the queue's; and whether it was made before `started_at`."""
    name = content.path.name
    if not is_queue_id(name):
        return 0, False
    return number_of(QueueId(name)), made_at(QueueId(name)) < started_at


def _blocks(content: StoredContent) -> Iterator[bytes]:
    """The content in blocks; a file shorter than it should be is trouble, never a shorter message."""
    descriptor = os.open(content.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        position, end = content.offset, content.offset + content.length
        while position < end:
            block = os.pread(descriptor, min(_BLOCK_OCTETS, end - position), position)
            if not block:
                raise StorageTrouble(f"the queue file ends {end - position} octets too early")
            yield block
            position += len(block)
    finally:
        os.close(descriptor)
