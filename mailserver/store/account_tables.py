"""`accounts.toml` as tables in memory, and the rules of its format.

    version = 2

    [accounts."alice@example.org"]
    password = "$argon2id$..."          # left out: receives mail, cannot log in
    disabled = true
    may_send_as = ["info@example.org", "@example.net"]
    junk = "folder"                     # or "inbox"; left out: as configured for all

    [aliases]
    "sales@example.org" = ["alice@example.org", "bob@example.org"]
    "@example.org" = ["alice@example.org"]

SCRAM keys and app passwords stand beside `password`: `account_credentials`. They came with version 2; version 1 had
nothing that version 2 has not, and is what a file without `version` is taken for. Nothing here touches the disk.
"""

import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mailserver.config.fault import nearest, shown
from mailserver.config.syntax import syntax_error
from mailserver.mail.address import Mailbox, canonical_domain, parse_mailbox
from mailserver.mail.fault import SyntaxFault
from mailserver.mail.junk import JunkDelivery
from mailserver.mail.reply import printable
from mailserver.ports import Account
from mailserver.store.account_credentials import CREDENTIAL_KEYS, AccountCredentials, offers_scram, read_credentials
from mailserver.store.app_passwords import is_device
from mailserver.store.passwords import is_known_hash

VERSION = 2
_FIRST_VERSION = 1

_TOP_KEYS = ("version", "accounts", "aliases")
_ACCOUNT_KEYS = (*CREDENTIAL_KEYS, "disabled", "may_send_as", "junk")
_NOT_YET = frozenset({"quota"})


class AccountsError(Exception):
    """The accounts file cannot be used. `errors` are whole lines; `str()` is all of them, one a line."""

    def __init__(self, errors: Iterable[str]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n".join(self.errors))


@dataclass(frozen=True, slots=True)
class AccountTables:
    """Domains, accounts, aliases and password hashes; `mailserver.ports.Directory`. Keys are `Mailbox.folded`.

    `aliases` has catch-alls under `@domain`. `warnings` are whole lines about what has no effect.
    """

    domains: frozenset[str]
    postmaster_mailbox: Mailbox
    accounts: Mapping[str, Account] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict, repr=False)
    aliases: Mapping[str, tuple[Mailbox, ...]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    # Of those who have any; `hashes` are the passwords in them.
    credentials: Mapping[str, AccountCredentials] = field(default_factory=dict, repr=False)
    # Whether everybody enabled who can log in can do it with SCRAM.
    offers_scram: bool = False
    # Which aliases name a target, and whose accounts have a bare local-part: what `reaches` and `login` ask for.
    _named_by: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    _by_local_part: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)

    def is_local_domain(self, domain: str) -> bool:
        """Whether mailboxes of this canonical domain live here."""
        return domain in self.domains

    def account(self, mailbox: Mailbox) -> Account | None:
        """The account with exactly this address, enabled or not."""
        return self.accounts.get(mailbox.folded)

    def alias(self, mailbox: Mailbox) -> tuple[Mailbox, ...] | None:
        """The targets of exactly this alias."""
        return self.aliases.get(mailbox.folded) if mailbox.local_part else None

    def catch_all(self, domain: str) -> tuple[Mailbox, ...] | None:
        """The targets of `@domain`."""
        return self.aliases.get("@" + domain)

    def postmaster(self) -> Mailbox:
        """Who gets postmaster@ and abuse@."""
        return self.postmaster_mailbox

    def reaches(self, account: Account) -> Iterable[Mailbox]:
        """Every alias address whose expansion contains this account's mailbox; catch-alls are no addresses."""
        found: dict[str, None] = {}
        waiting = [account.mailbox.folded]
        while waiting:
            for alias in self._named_by.get(waiting.pop(), ()):
                if alias not in found and alias not in self.accounts:
                    found[alias] = None
                    waiting.append(alias)
        return [self._alias_mailbox(alias) for alias in found if not alias.startswith("@")]

    def login(self, text: str) -> Account | None:
        """The account that a login name means, enabled or not.

        The full address, in any case; or its local-part alone as long as one account only has it, because many
        programs offer just that when a mailbox is set up. Aliases are no logins: a password belongs to one account, and
        refusals must not depend on the alias table. Nor are detail forms (`alice+x@`): see `device_login`.
        """
        if "@" not in text:
            found = self._by_local_part.get(text.lower(), ())
            return self.accounts[found[0]] if len(found) == 1 else None
        mailbox = parse_mailbox(text)
        return self.accounts.get(mailbox.folded) if isinstance(mailbox, Mailbox) else None

    def device_login(self, text: str) -> tuple[Account, str] | None:
        """The account and the device's name that `alice+phone@example.org` or `alice+phone` means, if it can be one.

        Only for what `login` does not know: an account whose own address has a `+` comes first.
        """
        local_part, at, domain = text.partition("@")
        base, plus, device = local_part.rpartition("+")
        if not plus or not base or not is_device(device.lower()):
            return None
        account = self.login(f"{base}{at}{domain}")
        return None if account is None else (account, device.lower())

    def remarks(self) -> list[str]:
        """The warnings, and whether the postmaster exists: for `check-config` and the server's start."""
        postmaster = self.postmaster_mailbox
        is_known = postmaster.folded in self.accounts or postmaster.folded in self.aliases
        if postmaster.domain in self.domains and not is_known:
            return [
                *self.warnings,
                f"postmaster: {shown(str(postmaster))}: there is no such account yet; "
                f"`mailserver account add {postmaster}` makes it",
            ]
        return list(self.warnings)

    def _alias_mailbox(self, folded: str) -> Mailbox:
        local_part, _, domain = folded.rpartition("@")
        return Mailbox(local_part, domain)


def read_tables(octets: bytes, path: Path, domains: Iterable[str], postmaster: Mailbox) -> AccountTables:
    """The tables in the text of an accounts file. Raises `AccountsError` with every error in it."""
    table = parse_toml(octets, path)
    reading = _Reading(frozenset(domains))
    reading.file(table)
    if reading.errors:
        raise AccountsError(f"{path}: {error}" for error in reading.errors)
    return reading.tables(postmaster, path)


def parse_toml(octets: bytes, path: Path) -> dict[str, object]:
    """The file as TOML. Raises `AccountsError`, also for a version that is newer than this program."""
    try:
        text = octets.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        raise AccountsError([f"{path}: line {line}: not UTF-8; save the file in that encoding"]) from None
    try:
        table: dict[str, object] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # The line may hold a password or a hash.
        raise AccountsError([f"{path}: {syntax_error(error, text, shows_line=False)}"]) from None
    except RecursionError:
        raise AccountsError([f"{path}: not valid TOML: brackets are nested too deeply"]) from None
    version = table.get("version", VERSION)
    if isinstance(version, int) and not isinstance(version, bool) and version > VERSION:
        raise AccountsError(
            [f"{path}: version: {version}: written by a newer mailserver; this one reads versions up to {VERSION}"]
        )
    return table


class _Reading:
    """Collects tables and errors while it goes through one file."""

    def __init__(self, domains: frozenset[str]) -> None:
        self.errors: list[str] = []
        self._domains = domains
        self._warnings: list[str] = []
        self._accounts: dict[str, Account] = {}
        self._hashes: dict[str, str] = {}
        self._credentials: dict[str, AccountCredentials] = {}
        self._aliases: dict[str, tuple[Mailbox, ...]] = {}

    def file(self, table: Mapping[str, object]) -> None:
        version = table.get("version", _FIRST_VERSION)
        if isinstance(version, bool) or version not in range(_FIRST_VERSION, VERSION + 1):
            self.errors.append(f"version: {shown(version)}: must be {VERSION}")
        self._unknown("", table, _TOP_KEYS)
        for key, value in self._table("accounts", table).items():
            self._account(key, value)
        for key, value in self._table("aliases", table).items():
            self._alias(key, value)

    def tables(self, postmaster: Mailbox, path: Path) -> AccountTables:
        named_by: dict[str, list[str]] = defaultdict(list)
        for alias, targets in self._aliases.items():
            for target in targets:
                for name in _names(target):
                    named_by[name].append(alias)
        by_local_part: dict[str, list[str]] = defaultdict(list)
        for folded, account in self._accounts.items():
            if account.mailbox.domain in self._domains:
                by_local_part[folded.rpartition("@")[0]].append(folded)
        return AccountTables(
            self._domains,
            postmaster,
            self._accounts,
            self._hashes,
            self._aliases,
            tuple(f"{path}: {warning}" for warning in self._warnings),
            self._credentials,
            offers_scram(one for key, one in self._credentials.items() if self._accounts[key].is_enabled),
            {name: tuple(aliases) for name, aliases in named_by.items()},
            {local_part: tuple(folded) for local_part, folded in by_local_part.items()},
        )

    def _account(self, key: str, value: object) -> None:
        where = f"accounts.{shown(key)}"
        mailbox = self._mailbox(where, key)
        if not isinstance(value, dict):
            # The value is not shown: it is probably a password.
            self.errors.append(f"{where}: must be a table: a line [{where}] with its keys below")
            return
        self._unknown(f"{where}.", value, _ACCOUNT_KEYS)
        is_disabled = value.get("disabled", False)
        if not isinstance(is_disabled, bool):
            self.errors.append(f"{where}.disabled: {shown(is_disabled)}: must be true or false, without quotes")
        may_send_as = tuple(self._senders(f"{where}.may_send_as", value.get("may_send_as", [])))
        junk = self._junk(f"{where}.junk", value.get("junk"))
        credentials = read_credentials(where, value, self.errors.append)
        password = credentials.hash
        if mailbox is None:
            return
        if mailbox.folded in self._accounts:
            self.errors.append(f"{where}: stands here twice; upper and lower case are the same")
            return
        self._accounts[mailbox.folded] = Account(mailbox, not is_disabled, may_send_as, junk)
        if credentials != AccountCredentials():
            self._credentials[mailbox.folded] = credentials
        if password:
            self._hashes[mailbox.folded] = password
            # Never shown: it may be somebody's password in clear.
            if not is_known_hash(password):
                self._warnings.append(f"{where}.password: not a kind of hash that is known here; login is refused")
        self._warn_of_domain(where, mailbox.domain)

    def _junk(self, where: str, value: object) -> JunkDelivery | None:
        if value is None:
            return None
        try:
            return JunkDelivery(value)
        except ValueError:
            self.errors.append(f'{where}: {shown(value)}: must be "inbox" or "folder"')
            return None

    def _alias(self, key: str, value: object) -> None:
        where = f"aliases.{shown(key)}"
        domain = canonical_domain(key[1:]) if key.startswith("@") else None
        mailbox = Mailbox("", domain) if domain else self._mailbox(where, key)
        targets = list(self._targets(where, value))
        if mailbox is None:
            return
        folded = mailbox.folded
        if folded in self._aliases:
            self.errors.append(f"{where}: stands here twice; upper and lower case are the same")
            return
        self._aliases[folded] = tuple(targets)
        if folded in self._accounts:
            self._warnings.append(f"{where}: has no effect, because there is an account with this address")
        self._warn_of_domain(where, mailbox.domain)

    def _targets(self, where: str, value: object) -> Iterator[Mailbox]:
        if not isinstance(value, list):
            self.errors.append(f'{where}: {shown(value)}: must be a list of addresses, such as ["alice@example.org"]')
            return
        for index, text in enumerate(value):
            mailbox = self._mailbox(f"{where}[{index}]", text)
            if mailbox is not None:
                yield mailbox

    def _senders(self, where: str, value: object) -> Iterator[str]:
        if not isinstance(value, list):
            self.errors.append(
                f'{where}: {shown(value)}: must be a list of addresses and domains, such as ["info@example.org", '
                '"@example.net"]'
            )
            return
        for index, text in enumerate(value):
            if isinstance(text, str) and text.startswith("@") and canonical_domain(text[1:]):
                yield f"@{canonical_domain(text[1:])}"
                continue
            mailbox = self._mailbox(f"{where}[{index}]", text)
            if mailbox is not None:
                yield mailbox.folded

    def _mailbox(self, where: str, text: object) -> Mailbox | None:
        parsed = parse_mailbox(text) if isinstance(text, str) else SyntaxFault("must be text in quotes")
        if isinstance(parsed, Mailbox) and parsed.domain:
            return parsed
        reason = parsed.reason if isinstance(parsed, SyntaxFault) else "its domain is missing"
        value = "" if where.endswith(shown(text)) else f": {shown(text)}"
        self.errors.append(f'{where}{value}: must be an address such as "alice@example.org": {reason}')
        return None

    def _unknown(self, prefix: str, table: Mapping[str, object], known: tuple[str, ...]) -> None:
        for key in table:
            if key in _NOT_YET and known is _ACCOUNT_KEYS:
                self.errors.append(f"{prefix}{key}: {shown(table[key])}: not available yet; leave it out")
            elif key not in known:
                guess = nearest(key, known)
                hint = f" (did you mean {prefix}{guess}?)" if guess else ""
                self.errors.append(f"{prefix}{printable(key)}: there is no such key{hint}")

    def _table(self, key: str, table: Mapping[str, object]) -> Mapping[str, object]:
        value = table.get(key, {})
        if isinstance(value, dict):
            return value
        self.errors.append(f"{key}: {shown(value)}: must be a table")
        return {}

    def _warn_of_domain(self, where: str, domain: str) -> None:
        if domain not in self._domains:
            self._warnings.append(f"{where}: gets no mail, because {domain} is not one of the configured domains")


def _names(target: Mailbox) -> Iterator[str]:
    """The keys under which routing may find a target: itself, and without its detail."""
    folded = target.folded
    yield folded
    base, plus, _ = folded.rpartition("@")[0].partition("+")
    if plus and base:
        yield f"{base}@{target.domain}"
