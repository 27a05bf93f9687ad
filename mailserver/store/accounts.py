"""The accounts the server works with: `accounts.toml` in memory, read again when the file changes.

Blocking (a stat, or reading one small file). A file that is broken changes nothing: the tables in force stay, and the
caller is told why.
"""

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from mailserver.mail.address import Mailbox
from mailserver.ports import Account
from mailserver.store.account_tables import AccountsError, AccountTables, read_tables

# A file that was written this shortly before it was read may be written again without a visible change of its times,
# or be only half of what it will be.
_SAME_TICK_S = 0.05
_MAX_OCTETS = 64_000_000

# mtime, inode, size and ctime of the file; None when there is none.
_Signature = tuple[int, int, int, int] | None


class AccountsFile:
    """`accounts.toml`, and what it said when it was last read well. Implements `mailserver.ports.Directory`.

    A missing file is one without accounts: the command line makes it with the first. `load` comes first; until then
    there are no accounts.
    """

    def __init__(
        self,
        path: Path,
        domains: Iterable[str],
        postmaster: Mailbox,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`sleep` blocks: it is what `reload` waits with while somebody writes the file."""
        self.path = path
        self._sleep = sleep
        self._domains = frozenset(domains)
        self._postmaster = postmaster
        self._signature: _Signature = None
        self._last_read = b""
        # Why what was read last is not in force.
        self._trouble: AccountsError | None = None
        self.tables = AccountTables(self._domains, postmaster)

    def load(self) -> None:
        """Read the file. Raises `AccountsError` with every error in it; the tables stay as they were then."""
        # Noted first, so that a broken file is told once and not each second.
        self._signature = _signature(self.path)
        self._last_read = read_accounts_file(self.path)
        self.tables = read_tables(self._last_read, self.path, self._domains, self._postmaster)

    def has_changed(self) -> bool:
        """Whether the file is another than when `load` or `reload` last looked. One stat; cheap enough for a poll."""
        return _signature(self.path) != self._signature

    def reload(self, *, must_tell: bool = False) -> bool:
        """Read the file again; whether it says anything else than before.

        Blocks for a twentieth of a second when the file is that young: an editor may be in the middle of writing it.
        Raises `AccountsError` when it is broken: then everything stays in force as it was. That is said once for each
        text, and with `must_tell` each time: whoever asks for it must not be told that all is well. A file that
        vanished or became empty counts as broken here, because that is what editors do to it before they write; taken
        at its word it would have mail for everybody refused for good.
        """
        self._signature = self._settled_signature()
        octets = read_accounts_file(self.path, must_exist=True)
        if octets == self._last_read:
            if must_tell and self._trouble is not None:
                raise self._trouble
            return False
        self._last_read = octets
        try:
            if not octets.strip() and self.tables.accounts:
                raise AccountsError([f"{self.path}: this file is empty"])
            self.tables = read_tables(octets, self.path, self._domains, self._postmaster)
        except AccountsError as trouble:
            self._trouble = trouble
            raise
        self._trouble = None
        return True

    def _settled_signature(self) -> _Signature:
        """Wait until nobody has written for a moment, at most a second in all."""
        for _ in range(20):
            signature = _signature(self.path)
            if signature is None or signature[2] >= 0:
                return signature
            self._sleep(_SAME_TICK_S)
        return _signature(self.path)

    # --- Directory ----------------------------------------------------------------------------------------------------

    def is_local_domain(self, domain: str) -> bool:
        """Whether mailboxes of this canonical domain live here."""
        return domain in self._domains

    def account(self, mailbox: Mailbox) -> Account | None:
        """The account with exactly this address, enabled or not."""
        return self.tables.account(mailbox)

    def alias(self, mailbox: Mailbox) -> tuple[Mailbox, ...] | None:
        """The targets of exactly this alias."""
        return self.tables.alias(mailbox)

    def catch_all(self, domain: str) -> tuple[Mailbox, ...] | None:
        """The targets of `@domain`."""
        return self.tables.catch_all(domain)

    def postmaster(self) -> Mailbox:
        """Who gets postmaster@ and abuse@."""
        return self._postmaster

    def reaches(self, account: Account) -> Iterable[Mailbox]:
        """Every alias address whose expansion contains this account's mailbox."""
        return self.tables.reaches(account)


def read_accounts_file(path: Path, *, must_exist: bool = False) -> bytes:
    """The octets of the file, none for a missing one. Raises `AccountsError` with a text for the operator."""
    try:
        with path.open("rb") as file:
            octets = file.read(_MAX_OCTETS + 1)
    except FileNotFoundError:
        if must_exist:
            raise AccountsError([f"{path}: there is no such file any more"]) from None
        return b""
    except IsADirectoryError:
        raise AccountsError([f"{path}: this is a folder; accounts.file must name a file"]) from None
    except OSError as error:
        raise AccountsError([f"{path}: cannot be read: {(error.strerror or str(error)).lower()}"]) from None
    if len(octets) > _MAX_OCTETS:
        raise AccountsError([f"{path}: this is not an accounts file: it is larger than 64 MB"])
    return octets


def _signature(path: Path) -> _Signature:
    """What a change changes. A file younger than the clock's tick gets a signature that fits nothing later."""
    try:
        status = path.stat()
    except OSError:
        return None
    youngest = max(status.st_mtime_ns, status.st_ctime_ns)
    # A stamp from the future (the clock was set back) must not look young for hours.
    is_settled = not 0 <= time.time_ns() - youngest <= _SAME_TICK_S * 1e9
    return (status.st_mtime_ns, status.st_ino, status.st_size if is_settled else -1, status.st_ctime_ns)


__all__ = ["AccountsError", "AccountsFile", "read_accounts_file"]
