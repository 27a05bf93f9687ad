"""Mailboxes as a POP3 session sees them (RFC 1939)."""

from collections.abc import Awaitable, Collection, Sequence
from typing import Protocol

from mailserver.ports.accounts import Account


class MaildropInUse(Exception):
    """Another session has this maildrop open: -ERR [IN-USE]."""


class MessageGone(Exception):
    """Another program removed the message after the snapshot was taken, or it is no regular file any more."""


class LargeMessage(Protocol):
    """One message too large to be read whole; octets as stored, so line ends may be LF or CRLF."""

    def next_piece(self) -> Awaitable[bytes]:
        """The next octets, at most 256 KiB; `b""` at the end. Raises `StorageTrouble` or `Overloaded`."""

    def close(self) -> None:
        """Let go of the file, at any time and any number of times; never raises."""


class Maildrop(Protocol):
    """One mailbox as one POP3 session sees it: numbered from 1, locked, unmoved by what others do (RFC 1939)."""

    @property
    def sizes(self) -> Sequence[int]:
        """Octets of each message as POP3 sends it (CRLF, dots not doubled), message 1 first. Never changes."""

    def file_name(self, number: int) -> str:
        """The unique part of the name of this message's file, for the journal; at once, from memory."""

    def unique_ids(self) -> Awaitable[Sequence[str]]:
        """The unique-id of each message, 1 to 70 printable octets, all different. Raises `Overloaded`."""

    def at_hand(self, number: int) -> bytes | None:
        """A message that was read along with those before it, given out once; None: `read` it. At once, from memory."""

    def read(self, number: int) -> Awaitable[bytes | LargeMessage]:
        """The stored octets whole up to 1 MiB, else in pieces. Raises `MessageGone`, `StorageTrouble`, `Overloaded`."""

    def measured(self, number: int, octets: int) -> Awaitable[None]:
        """Tell how many octets message `number` really was when sent; a wrong size is right in the next session."""

    def update(self, deleted: Collection[int], retrieved: Collection[int]) -> Awaitable[int]:
        """Remove `deleted` for good, mark the rest of `retrieved` as seen, and close.

        Answers how many could not be removed; what another program removed already counts as removed. Durable, and
        the lock is free, when it answers. Raises `StorageTrouble` or `Overloaded`; the lock is free then too.
        """

    def close(self) -> None:
        """Free the lock and forget everything, changing nothing; at any time and any number of times, never raises."""


class Maildrops(Protocol):
    """Opens maildrops, one session each."""

    def open(self, account: Account) -> Awaitable[Maildrop]:
        """Lock and list. A Maildir that does not exist yet is empty.

        Raises `MaildropInUse`, `StorageTrouble` or `Overloaded`; then nothing is locked.
        """
