"""Changing `accounts.toml` while others read it and change it (design section 5, "Who writes").

`editing` takes the lock on `<file>.lock`, reads, hands out the document, and puts a new file in place of the old one,
atomically, with its owner and mode; comments and order stay (tomlkit). Blocking; durable when it returns.

| A crash leaves | Who cleans it up |
| --- | --- |
| the lock file | nobody: the lock itself goes with the process, the file is used again |
| `.accounts.toml.<random>` beside the old file | the next `editing`, which holds the lock, removes it |
| the new file in place | it is whole |
"""

import contextlib
import errno
import fcntl
import glob
import os
import secrets
import stat
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.items import InlineTable, Table

from mailserver.mail.address import Mailbox, canonical_domain, parse_mailbox
from mailserver.store.account_tables import VERSION, AccountsError, read_tables
from mailserver.store.accounts import read_accounts_file
from mailserver.store.app_passwords import Device
from mailserver.store.files import DISK, Files
from mailserver.store.scram_keys import keys_text, read_keys

# An edit takes milliseconds; who waits longer waits for somebody who is stuck.
LOCK_TIMEOUT_S = 15.0
_LOCK_POLL_S = 0.02

_HEADER = """\
# Accounts, password hashes and aliases of mailserver. Made with `mailserver account` and `mailserver alias`; edited by
# hand it is fine too. The server sees a change within a second.
"""


class NoSuchEntry(KeyError):
    """The account or alias does not exist."""


class EntryExists(KeyError):
    """The account or alias exists already."""


@contextlib.contextmanager
def editing(path: Path, *, timeout_s: float = LOCK_TIMEOUT_S, files: Files = DISK) -> Iterator["AccountsDocument"]:
    """The document, to be changed inside the `with`; written at its end if it was changed and nothing was raised.

    Raises `AccountsError` when the file is broken, cannot be written, or somebody else holds the lock for
    `timeout_s` seconds.
    """
    # A link stays a link: what it points to is replaced.
    path = Path(os.path.realpath(path))
    try:
        files.make_folders(str(path.parent))
        with _locked(files, path, timeout_s):
            octets = read_accounts_file(path)
            # Nothing is built on a broken file; a newer version is refused here too. Domains only matter for warnings.
            read_tables(octets, path, domains=(), postmaster=Mailbox("postmaster", ""))
            document = AccountsDocument(octets)
            yield document
            if document.is_changed:
                _replace(files, path, document.octets())
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise AccountsError([f"{error.filename or path}: cannot be written: {reason}"]) from error


class AccountsDocument:
    """`accounts.toml` as its owner wrote it. Keys are found in any case; new ones are written as they are given."""

    def __init__(self, octets: bytes) -> None:
        text = octets.decode("utf-8-sig")
        self._document = tomlkit.parse(text) if text.strip() else tomlkit.parse(_HEADER)
        self.is_changed = False
        if "version" not in self._document and not text.strip():
            self._document.add("version", tomlkit.item(VERSION))
            self._document.add(tomlkit.nl())

    def octets(self) -> bytes:
        """The file's new text, which ends with a line end."""
        text = tomlkit.dumps(self._document)
        return (text if text.endswith("\n") else text + "\n").encode("utf-8")

    def has(self, mailbox: Mailbox) -> bool:
        """Whether there is an account with this address."""
        return _find(self._table("accounts"), mailbox.folded) is not None

    def password(self, mailbox: Mailbox) -> str:
        """The stored hash; empty when there is none. Raises `NoSuchEntry`."""
        return str(self._account(mailbox).get("password", ""))

    def add_account(self, mailbox: Mailbox, password_hash: str, scram: str = "") -> None:
        """A new account at the end; `scram` are the keys of its password as a line. Raises `EntryExists`."""
        accounts = self._table("accounts")
        if _find(accounts, mailbox.folded) is not None:
            raise EntryExists(str(mailbox))
        # Somebody may have written all accounts as one { inline } table.
        entry = tomlkit.inline_table() if isinstance(accounts, InlineTable) else tomlkit.table()
        entry.add("password", password_hash)
        if scram:
            entry.add("scram", scram)
            self._is_of_version_2()
        if isinstance(entry, Table) and list(self._document)[-1] != "accounts":
            entry.add(tomlkit.nl())  # else the next table's line would follow without a blank one
        accounts.add(str(mailbox), entry)
        self.is_changed = True

    def set_password(self, mailbox: Mailbox, password_hash: str, scram: str = "") -> None:
        """Replace the hash, and the SCRAM keys by `scram`, or by none. Raises `NoSuchEntry`."""
        account = self._account(mailbox)
        account["password"] = password_hash
        if scram:
            account["scram"] = scram
            self._is_of_version_2()
        elif "scram" in account:
            del account["scram"]
        self.is_changed = True

    def salt(self, mailbox: Mailbox, *, of_devices: bool = False) -> bytes | None:
        """The salt that all SCRAM keys of this account have; None when there are none. Raises `NoSuchEntry`.

        `of_devices`: without looking at the keys of its own password, which are to be replaced.
        """
        account = self._account(mailbox)
        lines = [
            "" if of_devices else account.get("scram", ""),
            *(one.get("scram", "") for one in account.get("devices", {}).values()),
        ]
        return next((keys.salt for keys in map(read_keys, map(_without_tag, lines)) if keys is not None), None)

    def add_device(self, mailbox: Mailbox, device: Device) -> None:
        """One app password more. Raises `NoSuchEntry`, or `EntryExists` when the account has this device."""
        account = self._account(mailbox)
        devices = account.get("devices")
        is_inline = isinstance(account, InlineTable) or isinstance(devices, InlineTable)
        if devices is None:
            account.add("devices", tomlkit.inline_table() if is_inline else tomlkit.table(is_super_table=True))
            devices = account["devices"]
        if device.name in devices:
            raise EntryExists(device.name)
        entry = tomlkit.inline_table() if is_inline else tomlkit.table()
        entry.add("password", device.hash)
        if device.keys is not None:
            entry.add("scram", keys_text(device.keys))
        entry.add("created", datetime.fromtimestamp(int(device.created), UTC))
        if device.only is not None:
            entry.add("only", device.only.value)
        if isinstance(entry, Table):
            entry.add(tomlkit.nl())
        devices.add(device.name, entry)
        self._is_of_version_2()
        self.is_changed = True

    def remove_device(self, mailbox: Mailbox, name: str) -> None:
        """Remove an app password. Raises `NoSuchEntry`."""
        account = self._account(mailbox)
        devices = account.get("devices", {})
        if name not in devices:
            raise NoSuchEntry(name)
        del devices[name]
        if not devices:
            del account["devices"]
        self.is_changed = True

    def set_requires_app_passwords(self, mailbox: Mailbox, does_require: bool) -> bool:
        """Switch the account's own password off for clients, or on; whether that changed anything."""
        account = self._account(mailbox)
        if bool(account.get("require_app_passwords", False)) == does_require:
            return False
        if does_require:
            account["require_app_passwords"] = True
            self._is_of_version_2()
        else:
            del account["require_app_passwords"]
        self.is_changed = True
        return True

    def set_disabled(self, mailbox: Mailbox, is_disabled: bool) -> bool:
        """Disable or enable; whether that changed anything. Raises `NoSuchEntry`."""
        account = self._account(mailbox)
        if bool(account.get("disabled", False)) == is_disabled:
            return False
        if is_disabled:
            account["disabled"] = True
        else:
            del account["disabled"]
        self.is_changed = True
        return True

    def remove_account(self, mailbox: Mailbox) -> None:
        """Remove the account's table. Raises `NoSuchEntry`."""
        self._account(mailbox)
        accounts = self._table("accounts")
        del accounts[_find(accounts, mailbox.folded)]
        self.is_changed = True

    def add_targets(self, alias: str, targets: list[Mailbox]) -> list[Mailbox]:
        """Add to an alias, which is made when there is none; the targets that were new. `alias` may be `@domain`."""
        aliases = self._table("aliases")
        key = _find(aliases, _folded(alias))
        if key is None:
            key = alias
            aliases.add(key, tomlkit.array())
        present = {_folded(str(target)) for target in aliases[key]}
        new = [target for target in targets if target.folded not in present]
        for target in new:
            aliases[key].append(str(target))
        self.is_changed = True
        return new

    def remove_targets(self, alias: str, targets: list[Mailbox]) -> list[str]:
        """Take these targets out of an alias (all when none is named); those that remain. An empty alias goes.

        Raises `NoSuchEntry` when there is no such alias, or it has not all of these targets; then nothing is changed.
        """
        aliases = self._table("aliases")
        key = _find(aliases, _folded(alias))
        if key is None:
            raise NoSuchEntry(alias)
        present = [str(target) for target in aliases[key]]
        gone = {target.folded for target in targets}
        for target in targets:
            if target.folded not in {_folded(text) for text in present}:
                raise NoSuchEntry(str(target))
        remaining = [text for text in present if _folded(text) not in gone] if targets else []
        if remaining:
            for index in reversed(range(len(present))):
                if _folded(present[index]) in gone:
                    del aliases[key][index]
        else:
            del aliases[key]
        self.is_changed = True
        return remaining

    def _is_of_version_2(self) -> None:
        """What was written now is not understood by a program that knows version 1 only."""
        if self._document.get("version") != VERSION:
            self._document["version"] = VERSION

    def _account(self, mailbox: Mailbox) -> Any:
        accounts = self._table("accounts")
        key = _find(accounts, mailbox.folded)
        if key is None:
            raise NoSuchEntry(str(mailbox))
        return accounts[key]

    def _table(self, name: str) -> Any:
        """A table of the document, made at its end when missing. tomlkit's items are `Any` to type checkers."""
        if name not in self._document:
            # The accounts' own tables say [accounts."x"], so [accounts] alone need not be there.
            self._document.add(name, tomlkit.table(is_super_table=name == "accounts"))
        return self._document[name]


def _without_tag(line: object) -> str:
    """SCRAM keys without what says of which password hash they are."""
    return "$".join(str(line).split("$")[:3])


def _find(table: Any, folded: str) -> str | None:
    return next((key for key in table if _folded(key) == folded), None)


def _folded(text: str) -> str:
    """The table key of an address or `@domain` as its owner wrote it; text that is neither is only itself."""
    if text.startswith("@"):
        return f"@{canonical_domain(text[1:]) or text[1:]}"
    mailbox = parse_mailbox(text)
    return mailbox.folded if isinstance(mailbox, Mailbox) else text


def lock_path(path: Path) -> Path:
    """The lock file beside an accounts file."""
    return path.with_name(path.name + ".lock")


@contextlib.contextmanager
def _locked(files: Files, path: Path, timeout_s: float) -> Iterator[None]:
    """Hold `<file>.lock`, which is a file of its own because the accounts file is another one after each edit."""
    descriptor = files.open_lock(str(lock_path(path)))
    try:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                    raise
                if time.monotonic() >= deadline:
                    raise AccountsError([f"{path}: another program is changing it; try again in a moment"]) from None
                time.sleep(_LOCK_POLL_S)
        yield
    finally:
        os.close(descriptor)


def _replace(files: Files, path: Path, octets: bytes) -> None:
    for left_over in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        files.discard(str(left_over))
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    descriptor = files.create(str(temporary))
    try:
        try:
            _take_on_owner_and_mode(files, path, descriptor)
            files.write(descriptor, (octets,))
            files.sync(descriptor)
        finally:
            files.close(descriptor)
        files.rename(str(temporary), str(path))
    except OSError:
        files.discard(str(temporary))
        raise
    files.sync_folder(str(path.parent))


def _take_on_owner_and_mode(files: Files, path: Path, descriptor: int) -> None:
    """Give the new file the old one's owner, group and mode; refused when that is not possible."""
    try:
        old = path.stat()
    except FileNotFoundError:
        return
    new = os.fstat(descriptor)
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        files.set_owner(descriptor, old.st_uid, old.st_gid)
    files.set_mode(descriptor, stat.S_IMODE(old.st_mode))
