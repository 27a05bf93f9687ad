"""The way to disk for what is accepted, filed from the queue, or of our own making."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from mailserver.mail.address import Mailbox
from mailserver.mail.envelope import Envelope, Recipient
from mailserver.mail.ids import QueueId
from mailserver.mail.trace import OUR_OWN


class StorageFull(Exception):
    """No space, no inodes or over a quota: 452, try later."""


class StorageTrouble(Exception):
    """Any other reason why nothing could be written: 451. The text is for the log."""


@dataclass(frozen=True, slots=True)
class LocalCopy:
    """One copy for one mailbox here.

    `recipients` are the envelope's recipients that led to this mailbox (several may); they go to the spool when the
    mailbox cannot be written. `trace` is put before everything else: Return-Path and Delivered-To, CRLF line ends.
    `folder` is a folder of the mailbox (Maildir++) such as `Junk`; empty for the inbox.
    """

    mailbox: Mailbox
    recipients: tuple[Recipient, ...]
    trace: bytes
    folder: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """A DSN of ours that must be on disk together with what it reports on. It becomes a spool file of its own.

    So do the copies for the addresses behind an alias; `source` is then `trace.source_of_copies`.
    """

    queue_id: QueueId
    envelope: Envelope
    content: bytes
    source: str = OUR_OWN


@dataclass(frozen=True, slots=True)
class SuccessReport:
    """RFC 3461 6.2: what is said to a sender who asked to be told that `recipients` have their copies here.

    `report` is about all of them. When some copies have to wait in the queue, which reports them later, `fewer` makes
    the one about the others; it is called in a worker thread.
    """

    recipients: tuple[Recipient, ...]
    report: Report
    fewer: Callable[[tuple[Recipient, ...]], Report | None]


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Everything that must be on disk before one 250.

    `envelope` names all recipients that go to the spool (`remote` of them; empty for none): its recipients are ignored
    otherwise. `received` is our Received field, CRLF line end, put before the content of every copy.
    """

    queue_id: QueueId
    received_at: float
    envelope: Envelope
    received: bytes
    local: tuple[LocalCopy, ...] = ()
    remote: tuple[Recipient, ...] = ()
    success: SuccessReport | None = None
    # Who handed it in, for the spool file: peer address, login, protocol. Shown by `queue show`.
    source: str = ""
    # Reports that are due whatever becomes of the copies.
    reports: tuple[Report, ...] = ()


# A success report (RFC 3461 6.2) about recipients that asked for it and are being filed here: it becomes part of the
# same acceptance, so that both are on disk together. Takes the acceptance without it, those recipients, and the header
# section; None when there is nobody to report to (null reverse-path).
MakeSuccessReport = Callable[[Acceptance, tuple[Recipient, ...], bytes], Report | None]


@dataclass(frozen=True, slots=True)
class Filed:
    """What a commit did. `spooled` lists the local copies that could not be filed now and wait in the queue instead.

    `report` is the success report that went to the spool as well. `files` are the unique parts of the file names of
    `filed`, in its order. `stored` is where the queue has the content, if it was in memory and some of it went there.
    """

    filed: tuple[LocalCopy, ...]
    spooled: tuple[tuple[LocalCopy, str], ...] = ()
    report: Report | None = None
    files: tuple[str, ...] = field(default=(), compare=False)
    stored: "StoredContent | None" = field(default=None, compare=False)


class ContentWriter(Protocol):
    """Takes one large content as it comes, straight to its place on disk under a temporary name."""

    def write(self, piece: bytes) -> Awaitable[None] | None:
        """Hand over the next octets (CRLF line ends, dots removed). An awaitable means: wait before the next piece.

        Trouble is remembered and told by `commit`.
        """

    def written(self) -> "Awaitable[StoredContent]":
        """Where the content lies that was handed over so far, all of it written, for reading only; not yet durable.

        The line ends may be LF. Raises `StorageFull`, `StorageTrouble` or `Overloaded`.
        """

    def commit(self, acceptance: Acceptance | None = None) -> Awaitable[Filed]:
        """Make it durable in all its places; returns when file and directory are synced.

        `acceptance` takes the place of the one this was opened with, for some of it is known only now: other folders
        for its copies, another `received` of the same length and line ends.

        Raises `StorageFull` or `StorageTrouble`, then nothing is left behind.
        """

    def discard(self) -> None:
        """Forget it and remove the temporary file; never raises."""


class Committer(Protocol):
    """The way to disk for everything accepted: group commit (design section 8)."""

    def commit(self, acceptance: Acceptance, content: bytes) -> Awaitable[Filed]:
        """Write one content of moderate size, CRLF line ends, to all its places; durable when it answers.

        All or nothing, but for a local copy whose own mailbox is in trouble, which is spooled. Raises `StorageFull`,
        `StorageTrouble` or `Overloaded`; then nothing is left behind.
        """

    def open(self, acceptance: Acceptance) -> ContentWriter:
        """Begin a large content."""

    def has_room(self, size_octets: int) -> bool:
        """Whether `size_octets` more leave `min_free` on both file systems; from a figure at most a second old."""


class MailboxWriter(Protocol):
    """Files a message that waited in the queue into one Maildir."""

    def file(self, mailbox: Mailbox, trace: bytes, content: "StoredContent", folder: str = "") -> Awaitable[str]:
        """`folder` is as in `LocalCopy`. Durable when it answers with the unique part of the file's name.

        Raises `StorageFull` or `StorageTrouble`.
        """


@dataclass(frozen=True, slots=True)
class StoredContent:
    """Content inside a file: `length` octets from `offset`, CRLF line ends (the content part of a spool file).

    `octets` is the same in memory, where it has only just been written and is small.
    """

    path: Path
    offset: int
    length: int
    octets: bytes | None = field(default=None, compare=False, repr=False)


class Spooler(Protocol):
    """Puts a message of our own making (a bounce, a delay notice) into the queue."""

    def spool(self, report: Report) -> Awaitable[None]:
        """Durable when it answers, and the queue knows of it; raises `StorageFull` or `StorageTrouble`."""
