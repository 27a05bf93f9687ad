"""Who may log in: the `Credentials` door over the accounts file.

Hashing runs in the `PASSWORDS` lane. A login that succeeded is remembered for some minutes as a keyed digest, so that
a program that polls every minute does not pay for a slow hash each time; the key lives and dies with the process. The
digest covers the stored hash, so that a changed password ends it, and the account is looked up each time, so that a
disabled or removed one is refused at once.
"""

import hashlib
import hmac
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from mailserver.mail.address import Mailbox
from mailserver.maillog import Sink, Trouble
from mailserver.ports import Account, Blocking, Clock, Lane
from mailserver.store.account_tables import AccountsError
from mailserver.store.accounts import AccountsFile
from mailserver.store.accounts_edit import NoSuchEntry, editing
from mailserver.store.passwords import Passwords, Verdict

REMEMBERED_S = 300.0
MAX_REMEMBERED = 1000
# An upgrade is a favor; it never makes a login wait for whoever holds the file.
_UPGRADE_LOCK_TIMEOUT_S = 1.0


@dataclass(frozen=True, slots=True)
class _Checked:
    """What came back from the lane. `upgrade_trouble` is why a better hash could not be written."""

    verdict: Verdict
    upgrade_trouble: str = ""


class Logins:
    """`mailserver.ports.Credentials`. A login is the account's full address, see `AccountTables.login`."""

    def __init__(
        self,
        accounts: AccountsFile,
        blocking: Blocking,
        clock: Clock,
        sink: Sink,
        passwords: Passwords | None = None,
    ) -> None:
        self._accounts = accounts
        self._blocking = blocking
        self._sink = sink
        self._passwords = passwords or Passwords()
        self._remembered = _Remembered(clock.monotonic)
        self._choice_key = os.urandom(32)
        self._decoy = self._passwords.decoy()
        # Hashes that were replaced by better ones of the same password.
        self._upgraded: OrderedDict[str, str] = OrderedDict()

    async def verify(self, login: str, password: str) -> Account | None:
        """The account when login and password fit and it is enabled, else None. Raises `Overloaded`.

        An unknown login costs what a wrong password costs: it is checked against the hash of some account, always the
        same for one login, and the result thrown away. A fixed decoy would stand out beside hashes from elsewhere.
        """
        account = self._accounts.tables.login(login)
        stored = self._accounts.tables.hashes.get(account.mailbox.folded, "") if account else ""
        if account is None or not stored:
            await self._blocking.run(Lane.PASSWORDS, self._passwords.check, self._stand_in(login), password)
            return None
        digest = self._remembered.digest(account.mailbox, stored, password)
        if not self._remembered.has(digest):
            checked = await self._blocking.run(Lane.PASSWORDS, self._check, account.mailbox, stored, password, digest)
            self._report(account.mailbox, checked)
            if not checked.verdict.is_right:
                return None
        # The file may have changed while the hash was computed.
        mailbox = account.mailbox
        return self._accounts.tables.account(mailbox) if self.still_holds(mailbox, stored) else None

    def proof(self, mailbox: Mailbox) -> str:
        """The stored hash: another one means another password, but for our own upgrades."""
        return self._accounts.tables.hashes.get(mailbox.folded, "")

    def still_holds(self, mailbox: Mailbox, proof: str) -> bool:
        """See the door."""
        account = self._accounts.tables.account(mailbox)
        if account is None or not account.is_enabled or not proof:
            return False
        return self.proof(mailbox) in (proof, self._upgraded.get(proof))

    def _stand_in(self, login: str) -> str:
        hashes = list(self._accounts.tables.hashes.values())
        if not hashes:
            return self._decoy
        choice = hmac.digest(self._choice_key, login.lower().encode("utf-8", "surrogatepass"), "sha256")
        return hashes[int.from_bytes(choice[:8]) % len(hashes)]

    def _check(self, mailbox: Mailbox, stored: str, password: str, digest: bytes) -> _Checked:
        """In a thread of the lane."""
        # Several connections of one program log in at once; the first one's result serves the others.
        if self._remembered.has(digest):
            return _Checked(Verdict(True))
        verdict = self._passwords.check(stored, password)
        if not verdict.is_right:
            return _Checked(verdict)
        self._remembered.add(digest)
        if not verdict.should_upgrade:
            return _Checked(verdict)
        return _Checked(verdict, self._upgrade(mailbox, stored, password))

    def _upgrade(self, mailbox: Mailbox, stored: str, password: str) -> str:
        """Store a hash of our present kind, unless the password was changed meanwhile; why not, if not."""
        try:
            better = self._passwords.hash(password)
            with editing(self._accounts.path, timeout_s=_UPGRADE_LOCK_TIMEOUT_S) as document:
                if document.password(mailbox) == stored:
                    document.set_password(mailbox, better)
                    # Before the file has it: the server may read it at any moment.
                    self._note_upgrade(stored, better)
        except NoSuchEntry:
            return ""
        except AccountsError as error:
            return str(error)
        self._remembered.add(self._remembered.digest(mailbox, better, password))
        return ""

    def _note_upgrade(self, stored: str, better: str) -> None:
        """In a thread of the lane; each step is one the interpreter does not interrupt."""
        self._upgraded[stored] = better
        if len(self._upgraded) > MAX_REMEMBERED:
            self._upgraded.popitem(last=False)

    def _report(self, mailbox: Mailbox, checked: _Checked) -> None:
        if checked.verdict.trouble:
            self._sink(Trouble("", f"password of {mailbox}", checked.verdict.trouble, "treated as a wrong password"))
        if checked.upgrade_trouble:
            self._sink(
                Trouble("", f"password of {mailbox}", checked.upgrade_trouble, "the old hash stays; the login is fine")
            )


class _Remembered:
    """Digests of logins that succeeded lately; bounded, used from several threads."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._key = os.urandom(32)
        self._until: OrderedDict[bytes, float] = OrderedDict()
        self._lock = threading.Lock()

    def digest(self, mailbox: Mailbox, stored: str, password: str) -> bytes:
        """Stands for this password of this account while `stored` is its hash."""
        parts = (mailbox.folded, stored, password)
        message = b"".join(hashlib.sha256(part.encode("utf-8", "surrogatepass")).digest() for part in parts)
        return hmac.digest(self._key, message, "sha256")

    def has(self, digest: bytes) -> bool:
        with self._lock:
            return self._until.get(digest, 0.0) > self._monotonic()

    def add(self, digest: bytes) -> None:
        with self._lock:
            self._until[digest] = self._monotonic() + REMEMBERED_S
            self._until.move_to_end(digest)
            while len(self._until) > MAX_REMEMBERED:
                self._until.popitem(last=False)
