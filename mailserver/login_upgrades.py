"""Better password hashes, and SCRAM keys, made of passwords that logged in. Async over doors.

The login has its answer already. One password at a time is worked on, so that the lane stays free for logins; what
comes of it is gathered for some seconds and written together: a thousand first logins rewrite the file a few times. A
crash, a full lane or a locked file loses nothing: the next login does it.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

from twisted.internet.defer import Deferred, DeferredLock

from mailserver.mail.address import Mailbox
from mailserver.maillog import Sink, Trouble
from mailserver.ports import Blocking, Clock, Lane, Overloaded
from mailserver.relay.gathered_writes import GatheredWrites
from mailserver.store.accounts import AccountsError, AccountsFile
from mailserver.store.accounts_edit import NoSuchEntry, editing
from mailserver.store.passwords import Passwords
from mailserver.store.scram_keys import salt_of, scram_line

GATHER_S = 5.0
# A file that could not be written probably may not be written at all; it is tried again after so long.
RETRY_S = 3600.0
_LOCK_TIMEOUT_S = 1.0
# Passwords that wait in memory; the others' turn comes at their next login.
MAX_WAITING = 200
_MAX_REPLACED = 1000


@dataclass(frozen=True, slots=True)
class _Better:
    """What is to be written for an account as long as `stored` is its hash."""

    stored: str = field(repr=False)
    hash: str = field(repr=False)
    scram: str = field(repr=False)


class LoginUpgrades:
    """`mailserver.store.logins.Upgrades`. Construct, use; `stop` writes what is left."""

    def __init__(
        self,
        accounts: AccountsFile,
        *,
        blocking: Blocking,
        clock: Clock,
        sink: Sink,
        passwords: Passwords | None = None,
        makes_keys: bool = True,
    ) -> None:
        self._accounts = accounts
        self._blocking = blocking
        self._clock = clock
        self._sink = sink
        self._passwords = passwords or Passwords()
        self._makes_keys = makes_keys
        self._turn = DeferredLock()
        self._under_way: set[str] = set()
        self._pending: dict[Mailbox, _Better] = {}
        self._off_until = float("-inf")
        # Hashes that were replaced by better ones of the same password.
        self._replaced: OrderedDict[str, str] = OrderedDict()
        self._writes = GatheredWrites(accounts.path, self._write, GATHER_S, "tried at the next logins", clock, sink)

    def begin(self, mailbox: Mailbox, stored: str, password: str, *, is_outdated: bool) -> None:
        """See `Upgrades`."""
        is_known = mailbox.folded in self._under_way
        if is_known or len(self._under_way) >= MAX_WAITING or self._clock.monotonic() < self._off_until:
            return
        self._under_way.add(mailbox.folded)
        Deferred.fromCoroutine(self._prepare(mailbox, stored, password, is_outdated))

    def replaced(self, stored: str) -> str | None:
        """See `Upgrades`."""
        return self._replaced.get(stored)

    async def _prepare(self, mailbox: Mailbox, stored: str, password: str, is_outdated: bool) -> None:
        await self._turn.acquire()
        try:
            credentials = self._accounts.tables.credentials.get(mailbox.folded)
            keys = None if credentials is None else next(credentials.all_keys(), None)
            salt = None if keys is None else keys.salt
            better = await self._blocking.run(Lane.PASSWORDS, self._make, stored, password, salt, is_outdated)
        except Overloaded:
            self._under_way.discard(mailbox.folded)
            return
        finally:
            self._turn.release()
        self._pending[mailbox] = better
        self._writes.later()

    def _make(self, stored: str, password: str, salt: bytes | None, is_outdated: bool) -> _Better:
        """In a thread of the lane."""
        hashed = self._passwords.hash(password) if is_outdated else stored
        return _Better(stored, hashed, scram_line(password, hashed, salt) if self._makes_keys else "")

    async def _write(self) -> None:
        pending, self._pending = self._pending, {}
        try:
            trouble = await self._blocking.run(Lane.GENERAL, self._write_all, pending)
        except Overloaded:
            self._pending = {**pending, **self._pending}
            raise
        for mailbox in pending:
            self._under_way.discard(mailbox.folded)
        if trouble:
            self._off_until = self._clock.monotonic() + RETRY_S
            names = [str(mailbox) for mailbox in pending]
            who = f"password of {names[0]}" if len(names) == 1 else f"passwords of {len(names)} accounts"
            self._sink(Trouble("", who, trouble, "the old hash stays; the login is fine"))

    def _write_all(self, pending: dict[Mailbox, _Better]) -> str:
        """Store all of it, unless a password was changed meanwhile; why not, if not. In a thread."""
        try:
            with editing(self._accounts.path, timeout_s=_LOCK_TIMEOUT_S) as document:
                for mailbox, better in pending.items():
                    try:
                        if document.password(mailbox) != better.stored:
                            continue
                    except NoSuchEntry:
                        continue
                    scram = better.scram
                    if scram and salt_of(scram) != (document.salt(mailbox, of_devices=True) or salt_of(scram)):
                        # A device came meanwhile, and all keys of an account have one salt: the next login makes them.
                        scram = ""
                    if better.hash == better.stored and not scram:
                        continue
                    if better.hash != better.stored:
                        # Before the file has it: the server may read it at any moment.
                        self._note(better)
                    document.set_password(mailbox, better.hash, scram)
        except AccountsError as error:
            return str(error)
        return ""

    def _note(self, better: _Better) -> None:
        """In a thread; each step is one the interpreter does not interrupt."""
        self._replaced[better.stored] = better.hash
        if len(self._replaced) > _MAX_REPLACED:
            self._replaced.popitem(last=False)

    async def stop(self) -> None:
        """Write what was not written yet."""
        await self._writes.stop()
