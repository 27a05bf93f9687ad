"""Who may log in: the `Credentials` door over the accounts file.

Hashing runs in the `PASSWORDS` lane. A login that succeeded is remembered for some minutes as a keyed digest, so that
a program that polls every minute does not pay for a slow hash each time; the key lives and dies with the process. The
digest covers the stored hash, so that a changed password ends it, and the account is looked up each time, so that a
disabled or removed one is refused at once. App passwords and SCRAM need no slow hash and nothing remembered.
"""

import hashlib
import hmac
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from mailserver.mail.address import Mailbox, parse_mailbox
from mailserver.maillog import Sink, Trouble
from mailserver.ports import Account, Blocking, Clock, Lane, LoggedIn, ScramOffer, Use
from mailserver.store.account_credentials import AccountCredentials
from mailserver.store.accounts import AccountsFile
from mailserver.store.app_passwords import Device, fits, is_app_hash, is_device
from mailserver.store.passwords import Passwords, Verdict
from mailserver.store.scram_keys import ITERATIONS, SALT_OCTETS

REMEMBERED_S = 300.0
MAX_REMEMBERED = 1000


class Upgrades(Protocol):
    """What becomes of a hash that should be another one, or has no SCRAM keys beside it (`login_upgrades`)."""

    def begin(self, mailbox: Mailbox, stored: str, password: str, *, is_outdated: bool) -> None:
        """A login has succeeded with this password; returns at once. `is_outdated`: the hash is to be replaced too."""

    def replaced(self, stored: str) -> str | None:
        """The hash of the same password that has taken this one's place, if we put it there."""


# (folded address, device, address of the client, use)
NoteUse = Callable[[str, str, str, Use], None]


class Logins:
    """`mailserver.ports.Credentials`. A login is the account's full address, see `AccountTables.login`."""

    def __init__(
        self,
        accounts: AccountsFile,
        blocking: Blocking,
        clock: Clock,
        sink: Sink,
        passwords: Passwords | None = None,
        *,
        upgrades: Upgrades | None = None,
        note_use: NoteUse | None = None,
        uses_scram: bool = True,
    ) -> None:
        self._accounts = accounts
        self._blocking = blocking
        self._sink = sink
        self._passwords = passwords or Passwords()
        self._remembered = _Remembered(clock.monotonic)
        self._secret = os.urandom(32)
        self._decoy = self._passwords.decoy()
        self._upgrades = upgrades
        self._note_use = note_use
        self._uses_scram = uses_scram

    def use_secret(self, secret: bytes) -> None:
        """What unknown logins are answered with is derived from: the same over restarts, or a restart would show."""
        self._secret = secret

    async def verify(self, login: str, password: str, use: Use) -> LoggedIn | None:
        """Who it is when login and password fit, the account is enabled and the password is for this use; else None.

        Raises `Overloaded`. An unknown login costs what a wrong password costs: it is checked against the hash of some
        account, always the same for one login, and the result thrown away. A fixed decoy would stand out beside hashes
        from elsewhere. App passwords are looked at first; that costs microseconds, and a wrong one all the rest too.
        """
        account, device_name = self._resolve(login)
        credentials = self._credentials(account)
        if account is not None and account.is_enabled:
            device = _device_with(credentials, device_name, password, use)
            if device is not None:
                return LoggedIn(account, device.name, device.hash)
        stored = "" if device_name else credentials.own_hash
        if account is None or not stored:
            await self._blocking.run(Lane.PASSWORDS, self._passwords.check, self._stand_in(login), password)
            return None
        mailbox = account.mailbox
        digest = self._remembered.digest(mailbox, stored, password)
        if not self._remembered.has(digest):
            verdict = await self._blocking.run(Lane.PASSWORDS, self._check, stored, password, digest)
            if verdict.trouble:
                self._sink(Trouble("", f"password of {mailbox}", verdict.trouble, "treated as a wrong password"))
            if not verdict.is_right:
                return None
            self._begin_upgrade(mailbox, stored, password, is_outdated=verdict.should_upgrade)
        # The file may have changed while the hash was computed.
        if not self.still_holds(mailbox, stored):
            return None
        now = self._accounts.tables.account(mailbox)
        return None if now is None else LoggedIn(now, "", stored)

    def still_holds(self, mailbox: Mailbox, proof: str) -> bool:
        """See the door."""
        account = self._accounts.tables.account(mailbox)
        if account is None or not account.is_enabled or not proof:
            return False
        credentials = self._credentials(account)
        if is_app_hash(proof):
            return any(device.hash == proof for device in credentials.devices)
        if not credentials.own_hash:
            return False
        replaced = None if self._upgrades is None else self._upgrades.replaced(proof)
        return credentials.own_hash in (proof, replaced)

    def logged_in(self, who: LoggedIn, address: str, use: Use) -> None:
        """See the door."""
        if who.device and self._note_use is not None:
            self._note_use(who.account.mailbox.folded, who.device, address, use)

    # --- SCRAM --------------------------------------------------------------------------------------------------------

    def offers_scram(self) -> bool:
        """See the door."""
        return self._uses_scram and self._accounts.tables.offers_scram

    def scram(self, login: str, use: Use) -> ScramOffer:
        """See the door. All passwords of an account have one salt, so any of them may be proved with its bare name."""
        account, device_name = self._resolve(login)
        credentials = self._credentials(account)
        offer = self._offer_for_nobody(login)
        named = credentials.device(device_name) if device_name else None
        first = named.keys if named is not None and named.keys is not None else next(credentials.all_keys(), None)
        if account is None or first is None:
            return offer
        offer = ScramOffer(first.salt, first.iterations)
        if not account.is_enabled:
            return offer
        found = [] if device_name or not credentials.own_hash else [("", credentials.own_hash, credentials.keys)]
        devices = credentials.devices if not device_name else (named,) if named is not None else ()
        found += [(one.name, one.hash, one.keys) for one in devices if one.is_for(use)]
        candidates = tuple(
            (LoggedIn(account, name, proof), keys)
            for name, proof, keys in found
            if keys is not None and (keys.salt, keys.iterations) == (first.salt, first.iterations)
        )
        return ScramOffer(first.salt, first.iterations, candidates)

    def _offer_for_nobody(self, login: str) -> ScramOffer:
        """For who does not exist, or has no keys: the same for a name however it is written, as with all others."""
        tables = self._accounts.tables
        name = self._name(login)
        found = tables.credentials.get(name)
        keys = None if found is None else next(found.all_keys(), None)
        if keys is not None:  # a bare name that several have
            return ScramOffer(keys.salt, keys.iterations)
        octets = name.encode("utf-8", "surrogatepass")
        salt = hmac.digest(self._secret, b"salt " + octets, "sha256")[:SALT_OCTETS]
        # Keys of an older release have another count, so a fixed one would stand out.
        counts = [one.keys.iterations for one in tables.credentials.values() if one.keys is not None]
        return ScramOffer(salt, counts[self._choice(name) % len(counts)] if counts else ITERATIONS)

    def _name(self, login: str) -> str:
        """What is the same for `Bob@example.org`, `bob` and `bob+phone`: as `AccountTables` reads logins, for nobody.

        A bare name is one of some domain, as those of accounts are: which one, no stranger can tell.
        """
        local_part, at, domain = login.partition("@")
        base, plus, device = local_part.rpartition("+")
        if plus and base and is_device(device.lower()):
            local_part = base
        if not at:
            local_part, domains = local_part.lower(), sorted(self._accounts.tables.domains)
            domain = domains[self._choice(local_part) % len(domains)] if domains else ""
        address = f"{local_part}@{domain}"
        mailbox = parse_mailbox(address)
        return mailbox.folded if isinstance(mailbox, Mailbox) else address

    # --- what they share ----------------------------------------------------------------------------------------------

    def _resolve(self, login: str) -> tuple[Account | None, str]:
        """The account, and the device that the login names."""
        tables = self._accounts.tables
        account = tables.login(login)
        if account is None and "+" in login:
            return tables.device_login(login) or (None, "")
        return account, ""

    def _credentials(self, account: Account | None) -> AccountCredentials:
        found = None if account is None else self._accounts.tables.credentials.get(account.mailbox.folded)
        return _NO_CREDENTIALS if found is None else found

    def _choice(self, login: str) -> int:
        choice = hmac.digest(self._secret, login.lower().encode("utf-8", "surrogatepass"), "sha256")
        return int.from_bytes(choice[:8])

    def _stand_in(self, login: str) -> str:
        hashes = list(self._accounts.tables.hashes.values())
        return hashes[self._choice(login) % len(hashes)] if hashes else self._decoy

    def _check(self, stored: str, password: str, digest: bytes) -> Verdict:
        """In a thread of the lane."""
        # Several connections of one program log in at once; the first one's result serves the others.
        if self._remembered.has(digest):
            return Verdict(True)
        verdict = self._passwords.check(stored, password)
        if verdict.is_right:
            self._remembered.add(digest)
        return verdict

    def _begin_upgrade(self, mailbox: Mailbox, stored: str, password: str, *, is_outdated: bool) -> None:
        """Have a hash of another kind replaced, and SCRAM keys made where they are missing."""
        if self._upgrades is None:
            return
        credentials = self._accounts.tables.credentials.get(mailbox.folded)
        if credentials is None or credentials.hash != stored:
            return
        lacks_keys = credentials.keys is None or credentials.keys.iterations != ITERATIONS
        if is_outdated or (lacks_keys and self._uses_scram):
            self._upgrades.begin(mailbox, stored, password, is_outdated=is_outdated)


_NO_CREDENTIALS = AccountCredentials()


def _device_with(credentials: AccountCredentials, name: str, password: str, use: Use) -> Device | None:
    """The device whose app password this is: the one that the login names, or any when it names none."""
    asked = credentials.devices if not name else (credentials.device(name),)
    return next((one for one in asked if one is not None and fits(one.hash, password) and one.is_for(use)), None)


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
