"""The TRANSACTION and UPDATE states of a POP3 session over one open maildrop (RFC 1939 5 and 6).

Message numbers are those of the snapshot. Marks for deletion live here and nowhere else until `update`.
"""

from collections.abc import Collection, Sequence
from typing import assert_never

from mailserver.mail import pop3_reply as replies
from mailserver.mail.pop3_reply import Pop3Reply
from mailserver.maillog import Erased, Fetched, Sink, Trouble
from mailserver.ports import LargeMessage, Maildrop, MessageGone, Overloaded, StorageTrouble
from mailserver.wire.pop3_content import TERMINATOR, ContentEncoder, encode_whole
from mailserver.wire.pop3_events import Delete, List, Noop, Reset, Retrieve, Stat, Top, UniqueIds

# Longer listings go out in pieces of so many lines, a millisecond or two each.
_LINES_AT_ONCE = 4000

TransactionEvent = Retrieve | Delete | Top | Stat | List | UniqueIds | Reset | Noop


class Transaction:
    """What a client does with its messages."""

    def __init__(self, maildrop: Maildrop, login: str, peer: str, log: Sink, device: str = "") -> None:
        self._maildrop = maildrop
        self._mailbox = login
        self._device = device
        self._peer = peer
        self._log = log
        self.sizes: Sequence[int] = maildrop.sizes
        self._total = sum(self.sizes)
        self._deleted: set[int] = set()
        self._deleted_octets = 0
        self._seen: set[int] = set()
        self._large: LargeBody | None = None
        self._is_closed = False
        # For the log: messages retrieved, whole or by TOP alone, and octets of content sent.
        self.retrieved = 0
        self.octets_sent = 0

    @property
    def messages(self) -> int:
        """How many messages are not marked as deleted."""
        return len(self.sizes) - len(self._deleted)

    @property
    def octets(self) -> int:
        """The octets of those."""
        return self._total - self._deleted_octets

    async def answer(self, event: TransactionEvent) -> Pop3Reply:
        """One command of the TRANSACTION state."""
        match event:
            case Retrieve():
                return await self._send(event.number, None)
            case Top():
                return await self._send(event.number, event.lines)
            case UniqueIds():
                return await self._unique_ids(event.number)
            case Delete() | Stat() | List() | Reset() | Noop():
                reply = self.answer_at_once(event)
                assert reply is not None, "these need nothing but memory"
                return reply
            case _:
                assert_never(event)

    def answer_at_once(self, event: TransactionEvent) -> Pop3Reply | None:
        """The same for what is in memory; None: ask `answer`. A client that fetches in order waits for no coroutine."""
        match event:
            case Retrieve():
                return self._retrieve_at_once(event.number)
            case Delete():
                return self._refusal(event.number) or self._delete(event.number)
            case Stat():
                return replies.stat(self.messages, self.octets)
            case List():
                return self._list(event.number)
            case Reset():
                self._deleted.clear()
                self._deleted_octets = 0
                return replies.reset(self.messages, self.octets)
            case Noop():
                return replies.NOOP_DONE
            case Top() | UniqueIds():
                return None
            case _:
                assert_never(event)

    async def update(self) -> tuple[Pop3Reply, int]:
        """Remove what is marked; durable, and the lock free, when it answers. The reply, and how many are removed."""
        self._close_large()
        try:
            failed = await self._maildrop.update(self._deleted, self._seen)
        except (StorageTrouble, Overloaded) as trouble:
            reason = str(trouble) or "the server is busy"
            self._log(Trouble("", f"maildrop {self._mailbox}", reason, "some messages are not deleted"))
            return replies.NOT_ALL_REMOVED, 0
        removed = len(self._deleted) - failed
        if not failed:
            for number in sorted(self._deleted):
                self._log(Erased(self._peer, self._mailbox, self._maildrop.file_name(number), self._device))
        return (replies.NOT_ALL_REMOVED if failed else replies.updated(removed)), removed

    def close(self) -> None:
        """Leave everything as it is and free the lock."""
        self._is_closed = True
        self._close_large()
        self._maildrop.close()

    def _close_large(self) -> None:
        if self._large is not None:
            self._large.close()
            self._large = None

    def _refusal(self, number: int) -> Pop3Reply | None:
        """Why this number does not name a message; None when it does."""
        if number > len(self.sizes):
            return replies.NO_SUCH_MESSAGE
        return replies.MESSAGE_DELETED if number in self._deleted else None

    def _delete(self, number: int) -> Pop3Reply:
        self._deleted.add(number)
        self._deleted_octets += self.sizes[number - 1]
        return replies.deleted(number)

    # --- listings -----------------------------------------------------------------------------------------------------

    def _list(self, number: int | None) -> Pop3Reply:
        if number is not None:
            return self._refusal(number) or replies.list_one(number, self.sizes[number - 1])
        if len(self.sizes) > _LINES_AT_ONCE:
            return replies.listing_in_pieces(self.messages, self.octets, LongListing(self.sizes, self._deleted))
        return replies.listing(self.messages, self.octets, self._lines(self.sizes))

    async def _unique_ids(self, number: int | None) -> Pop3Reply:
        if number is not None and (refusal := self._refusal(number)) is not None:
            return refusal
        try:
            unique_ids = await self._maildrop.unique_ids()
        except Overloaded:
            return replies.BUSY
        if number is not None:
            return replies.unique_id(number, unique_ids[number - 1])
        if len(unique_ids) > _LINES_AT_ONCE:
            return replies.unique_ids_in_pieces(LongListing(unique_ids, self._deleted))
        return replies.unique_ids(self._lines(unique_ids))

    def _lines(self, values: Sequence[int] | Sequence[str]) -> list[str]:
        """`n value` for each message that is not marked as deleted, CRLF included."""
        if not self._deleted:
            return [f"{number} {value}\r\n" for number, value in enumerate(values, 1)]
        deleted = self._deleted
        return [f"{number} {value}\r\n" for number, value in enumerate(values, 1) if number not in deleted]

    # --- content ------------------------------------------------------------------------------------------------------

    async def _send(self, number: int, body_lines: int | None) -> Pop3Reply:
        """RETR (`body_lines` None) or TOP."""
        refusal = self._refusal(number)
        if refusal is not None:
            return refusal
        try:
            content = await self._maildrop.read(number)
        except MessageGone:
            return replies.MESSAGE_GONE
        except StorageTrouble as trouble:
            self._log(Trouble("", f"maildrop {self._mailbox}", str(trouble), "a message could not be fetched"))
            return replies.MESSAGE_TROUBLE
        except Overloaded:
            return replies.BUSY
        if not isinstance(content, bytes):
            return self._send_large(number, content, body_lines)
        body, octets = encode_whole(content, body_lines)
        self._count(number, octets, body_lines is None)
        if body_lines is not None:
            return replies.top(body)
        self._seen.add(number)
        if octets != self.sizes[number - 1]:
            await self._tell_size(number, octets)
        return replies.message(octets, body)

    def _retrieve_at_once(self, number: int) -> Pop3Reply | None:
        """RETR of a message that was read ahead."""
        refusal = self._refusal(number)
        if refusal is not None:
            return refusal
        content = self._maildrop.at_hand(number)
        if content is None:
            return None
        body, octets = encode_whole(content)
        if octets != self.sizes[number - 1]:
            return None  # a wrong size has to be noted, and that may take a while
        self._count(number, octets, True)
        self._seen.add(number)
        return replies.message(octets, body)

    def _send_large(self, number: int, content: LargeMessage, body_lines: int | None) -> Pop3Reply:
        self._close_large()
        self._large = pieces = LargeBody(self, number, content, body_lines)
        if self._is_closed:
            # The connection was lost while the file was opened.
            self._close_large()
        if body_lines is not None:
            return replies.top_in_pieces(pieces)
        return replies.message_in_pieces(self.sizes[number - 1], pieces)

    async def sent_large(self, number: int, octets: int, is_whole: bool) -> None:
        """A large message went out to its end."""
        self._count(number, octets, is_whole)
        if is_whole:
            self._seen.add(number)
            if octets != self.sizes[number - 1]:
                await self._tell_size(number, octets)

    def _count(self, number: int, octets: int, is_whole: bool) -> None:
        """Some clients fetch with a TOP of many lines, so that the message stays unread."""
        self.retrieved += 1
        self.octets_sent += octets
        if is_whole or octets >= self.sizes[number - 1]:
            self._log(Fetched(self._peer, self._mailbox, self._maildrop.file_name(number), octets, self._device))

    async def _tell_size(self, number: int, octets: int) -> None:
        """The listed size was wrong; this session keeps it, the next knows better."""
        try:
            await self._maildrop.measured(number, octets)
        except Overloaded:
            return  # noticed again at the next RETR


class LongListing:
    """`mail.pop3_reply.PieceSource` over LIST or UIDL of very many messages, so that nobody else waits for all of it.

    `deleted` must not change meanwhile; no other command is taken up before the response is out.
    """

    def __init__(self, values: Sequence[int] | Sequence[str], deleted: Collection[int]) -> None:
        self._values = values
        self._deleted = deleted
        self._at = 0
        self._is_at_end = False

    async def next_piece(self) -> bytes:
        """Some thousand lines; the terminator is the last piece."""
        while self._at < len(self._values):
            first, self._at = self._at, self._at + _LINES_AT_ONCE
            numbered = enumerate(self._values[first : self._at], first + 1)
            lines = [f"{number} {value}\r\n" for number, value in numbered if number not in self._deleted]
            if lines:
                return "".join(lines).encode("ascii")
        if self._is_at_end:
            return b""
        self._is_at_end = True
        return TERMINATOR

    def close(self) -> None:
        """Nothing is held."""


class LargeBody:
    """`mail.pop3_reply.PieceSource` over a large message: read, encode, and the terminator at the end."""

    def __init__(self, transaction: Transaction, number: int, content: LargeMessage, body_lines: int | None) -> None:
        self._transaction = transaction
        self._number = number
        self._content = content
        self._encoder = ContentEncoder(body_lines)
        self._is_whole = body_lines is None
        self._is_at_end = False

    async def next_piece(self) -> bytes:
        """The next octets for the wire, `b""` at the end. Raises `StorageTrouble` or `Overloaded`: then hang up."""
        while not self._is_at_end:
            stored = b"" if self._encoder.is_complete else await self._content.next_piece()
            if self._is_at_end:
                # The connection was lost meanwhile, and the read was cut short: that is no news about the file.
                break
            if not stored:
                return await self._end()
            if piece := self._encoder.encode(stored):
                return piece
        return b""

    async def _end(self) -> bytes:
        self._is_at_end = True
        self._content.close()
        end = self._encoder.finish()
        await self._transaction.sent_large(self._number, self._encoder.octets, self._is_whole)
        return end

    def close(self) -> None:
        """Let go of the file."""
        self._is_at_end = True
        self._content.close()
