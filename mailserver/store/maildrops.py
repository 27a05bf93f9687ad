"""The `Maildrops` door over real Maildirs: one session a maildrop, disk work in the mailbox lane (no Twisted).

The lock is a set in this process, so it is gone the moment its session is, and no crash leaves it behind. It keeps our
own sessions apart; Dovecot and mutt may have the same Maildir open, the snapshot copes with them.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence

from mailserver.mail.address import Mailbox
from mailserver.maillog import Sink, Trouble
from mailserver.ports import Account, Blocking, Lane, MaildropInUse, Overloaded, StorageTrouble
from mailserver.store.files import Files
from mailserver.store.maildrop import LargeFile, Snapshot, open_snapshot
from mailserver.store.maildrop_memory import MaildropMemory

# A client that fetches one message after the other gets the next ones read along, within these bounds: a hop to
# another thread costs more than reading a small message. Half of them gone, as many more are read meanwhile.
_AHEAD_MESSAGES = 32
_AHEAD_OCTETS = 128 << 10


class MaildirMaildrops:
    """`mailserver.ports.Maildrops`. `folder` answers a mailbox's Maildir, which may not exist yet."""

    def __init__(self, blocking: Blocking, files: Files, folder: Callable[[Mailbox], str], log: Sink) -> None:
        self._blocking = blocking
        self._files = files
        self._folder = folder
        self._log = log
        self._memory = MaildropMemory()
        self._in_use: set[str] = set()

    async def open(self, account: Account) -> "OpenMaildrop":
        """Lock and list; see the door."""
        folder = self._folder(account.mailbox)
        if folder in self._in_use:
            raise MaildropInUse
        self._in_use.add(folder)
        try:
            snapshot = await self._blocking.run(Lane.MAILBOX, open_snapshot, self._files, folder, self._memory)
        except BaseException:
            self._in_use.discard(folder)
            raise
        maildrop = OpenMaildrop(self._blocking, snapshot, str(account.mailbox), self._log, self._unlocker(folder))
        maildrop.tell_notes()
        return maildrop

    def _unlocker(self, folder: str) -> Callable[[], None]:
        """Frees the lock once; a second call must not free what another session has taken since."""
        held = [folder]

        def unlock() -> None:
            if held:
                self._in_use.discard(held.pop())

        return unlock


class OpenMaildrop:
    """`mailserver.ports.Maildrop` over one `Snapshot`."""

    def __init__(
        self, blocking: Blocking, snapshot: Snapshot, mailbox: str, log: Sink, unlock: Callable[[], None]
    ) -> None:
        self._blocking = blocking
        self._snapshot = snapshot
        self._mailbox = mailbox
        self._log = log
        self._unlock = unlock
        self._unique_ids: list[str] | None = None
        self._ahead: dict[int, bytes] = {}
        self._coming: Awaitable[dict[int, bytes]] | None = None
        self._last_asked = 0  # number of the last message that was to be read ahead
        self._last_read = 0
        self._measured: dict[int, int] = {}
        self._next_save = 1

    @property
    def sizes(self) -> Sequence[int]:
        """Octets as sent, message 1 first."""
        return self._snapshot.sizes

    def file_name(self, number: int) -> str:
        """No thread is needed: another program's rename keeps this part of the name."""
        return self._snapshot.file_name(number)

    async def unique_ids(self) -> Sequence[str]:
        """Made once, when first asked for."""
        if self._unique_ids is None:
            await self._settle()
            self._unique_ids = await self._blocking.run(Lane.MAILBOX, self._snapshot.unique_ids)
        return self._unique_ids

    async def read(self, number: int) -> "bytes | OpenLargeFile":
        """The message; the ones behind it too when the client goes through the maildrop in order."""
        await self._settle()
        content = self.at_hand(number)
        if content is not None:
            return content
        in_order, self._last_read = self._last_read > 0 and number == self._last_read + 1, number
        self._ahead.clear()
        wanted = [number, *self._next_small(number, self.sizes[number - 1])] if in_order else [number]
        self._last_asked = wanted[-1]
        found, ahead = await self._blocking.run(Lane.MAILBOX, _read_several, self._snapshot, wanted)
        self._ahead = ahead
        return OpenLargeFile(self._blocking, found) if isinstance(found, LargeFile) else found

    def at_hand(self, number: int) -> bytes | None:
        """See the door. Reading goes on in a thread while the client takes what is here."""
        content = self._ahead.pop(number, None)
        if content is not None:
            self._last_read = number
            if len(self._ahead) == _AHEAD_MESSAGES // 2:
                self._read_on()
            return content
        content = self._snapshot.read_at_once(number)
        if content is not None:
            self._last_read = number
        return content

    def _read_on(self) -> None:
        wanted = self._next_small(self._last_asked, 0)
        if wanted and self._coming is None:
            try:
                self._coming = self._blocking.run(Lane.MAILBOX, _read_ahead, self._snapshot, wanted)
            except Overloaded:
                return  # whoever asks for the message itself is told
            self._last_asked = wanted[-1]

    async def _settle(self) -> None:
        """No thread works on the snapshot after this, and what was read is at hand."""
        coming, self._coming = self._coming, None
        if coming is not None:
            try:
                self._ahead.update(await coming)
            except Overloaded:
                return  # whoever asks for a message itself is told

    def _next_small(self, number: int, octets: int) -> list[int]:
        """Numbers behind `number` that together, with `octets` more, stay within the bounds."""
        numbers = []
        for following in range(number + 1, min(number + _AHEAD_MESSAGES, len(self.sizes) + 1)):
            octets += self.sizes[following - 1]
            if octets > _AHEAD_OCTETS:
                break
            numbers.append(following)
        return numbers

    async def measured(self, number: int, octets: int) -> None:
        """Note a size that differs from what was listed; saved at once, and then ever more seldom."""
        if octets == self.sizes[number - 1] or number in self._measured:
            return
        if not self._measured:
            text = f"message {number} has {octets} octets, listed were {self.sizes[number - 1]}"
            self._log(Trouble("", f"maildrop {self._mailbox}", text, "right in the next session"))
        self._measured[number] = octets
        if len(self._measured) >= self._next_save:
            self._next_save = 2 * len(self._measured)
            await self._save_sizes()

    async def _save_sizes(self) -> None:
        await self._settle()
        try:
            await self._blocking.run(Lane.MAILBOX, self._snapshot.remember_sizes, dict(self._measured))
        except (OSError, StorageTrouble) as error:
            self._log(Trouble("", f"maildrop {self._mailbox}", f"sizes cannot be remembered: {error}"))

    async def update(self, deleted: Collection[int], retrieved: Collection[int]) -> int:
        """Apply and close. The thread that removes frees the lock, so that a lost connection cannot free it earlier."""
        await self._settle()
        self._ahead.clear()
        if not deleted and not retrieved and not self._measured:
            self._unlock()
            return 0
        try:
            unlock, self._unlock = self._unlock, _nothing
            call = _update, self._snapshot, deleted, retrieved, dict(self._measured), unlock
            failed = await self._blocking.run(Lane.MAILBOX, *call)
        except BaseException:
            unlock()
            raise
        finally:
            self.tell_notes()
        return failed

    def close(self) -> None:
        """Free the lock, change nothing."""
        self._ahead.clear()
        self._unlock()

    def tell_notes(self) -> None:
        """Put what the snapshot noticed into the log, one line."""
        notes, self._snapshot.notes = self._snapshot.notes, []
        if notes:
            text = notes[0] if len(notes) == 1 else f"{notes[0]} (and {len(notes) - 1} more)"
            self._log(Trouble("", f"maildrop {self._mailbox}", text))


class OpenLargeFile:
    """`mailserver.ports.LargeMessage`."""

    def __init__(self, blocking: Blocking, file: LargeFile) -> None:
        self._blocking = blocking
        self._file = file

    async def next_piece(self) -> bytes:
        """One read in the mailbox lane."""
        return await self._blocking.run(Lane.MAILBOX, self._file.next_piece)

    def close(self) -> None:
        """Does not wait for a read that is under way."""
        self._file.close()


def _read_several(snapshot: Snapshot, numbers: list[int]) -> tuple[bytes | LargeFile, dict[int, bytes]]:
    """The first of `numbers`, whose trouble is raised; and those of the others that are there and small."""
    first = snapshot.read(numbers[0])
    return first, _read_ahead(snapshot, numbers[1:])


def _read_ahead(snapshot: Snapshot, numbers: list[int]) -> dict[int, bytes]:
    """As many of these as are there and small, up to the first that is not."""
    ahead: dict[int, bytes] = {}
    octets = 0
    for number in numbers:
        content = snapshot.read_if_small(number, _AHEAD_OCTETS - octets)
        if content is None:
            break
        ahead[number] = content
        octets += len(content)
    return ahead


def _update(
    snapshot: Snapshot,
    deleted: Collection[int],
    retrieved: Collection[int],
    measured: dict[int, int],
    unlock: Callable[[], None],
) -> int:
    try:
        failed = snapshot.remove(deleted)
        snapshot.mark_seen(set(retrieved).difference(deleted))
        if left := {number: octets for number, octets in measured.items() if number not in deleted}:
            try:
                snapshot.remember_sizes(left)
            except (OSError, StorageTrouble) as error:
                snapshot.notes.append(f"sizes cannot be remembered: {error}")
        return failed
    finally:
        unlock()


def _nothing() -> None:
    """What is left to free when the lock is free or somebody else's to free."""
