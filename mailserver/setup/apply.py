"""Does what a plan says: user, folders, files, keys, the first account. Blocking; as root or as whoever owns it all.

Everything is checked before anything is replaced: the configuration as it will be is read by the same function that the
server reads it with.
"""

import os
import pwd
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mailserver.config import Config, ConfigError, read_config
from mailserver.identity import Identity, acting_as
from mailserver.mail.address import Mailbox
from mailserver.mail.dkim_key import KeyState
from mailserver.net.listener_text import check_listener
from mailserver.net.tls import CertificateTrouble, ensure_self_signed
from mailserver.setup.changes import Changes
from mailserver.setup.machine_files import Owner, PlannedFile
from mailserver.setup.values import Layout
from mailserver.setup.write import is_unbegun, make_state_folders, put, write_changes
from mailserver.store.accounts import AccountsError, AccountsFile
from mailserver.store.accounts_edit import EntryExists, editing
from mailserver.store.dkim_keys import DkimKeyFolder
from mailserver.store.drop_folders import make_drop_folder
from mailserver.store.passwords import Passwords
from mailserver.store.scram_keys import scram_line

_USERADD_S = 60


class SetupTrouble(Exception):
    """Something cannot be done; the text is for the owner, and says what to do."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """Passwords. Empty: there is none. `account`: the first account's; `is_made`: here, so it has to be shown once."""

    smarthost: str = ""
    account: str = ""
    is_made: bool = False


@dataclass(frozen=True, slots=True)
class Missing:
    """What is not there yet beside files: the service's user, keys of domains, the first account."""

    user: str = ""
    domains: tuple[str, ...] = ()
    account: Mailbox | None = None

    def __bool__(self) -> bool:
        return bool(self.user or self.domains or self.account)


def checked(found: Changes, layout: Layout) -> Config:
    """The configuration as it will be. Raises `SetupTrouble` with every error in it."""
    change = found.config
    try:
        text = change.file.text if change is not None else layout.config.read_text("utf-8")
        return read_config(text, layout.config, check_listener)
    except ConfigError as error:
        raise SetupTrouble(f"setup would write what the server cannot read; nothing was written:\n{error}") from None


def identity(layout: Layout) -> Identity | None:
    """Whose the state is, when root runs this; None when it is our own, or not known yet."""
    if os.geteuid() != 0:
        return None
    if is_unbegun(layout.state):
        return _user(layout.user) if layout.user else None
    status = layout.state.stat()
    return Identity(status.st_uid, status.st_gid) if status.st_uid else None


def missing(layout: Layout, config: Config, wanted: Mailbox | None) -> Missing:
    """What a look at users, keys and accounts shows. Raises `SetupTrouble`."""
    who = identity(layout)
    if layout.user and who is None and os.geteuid() == 0 and not is_unbegun(layout.state):
        raise SetupTrouble(
            f"{layout.state} is root's, and the server runs as the user {layout.user}: move it away, or give it to "
            f"that user with chown -R {layout.user}: {layout.state}"
        )
    user = layout.user if layout.user and is_unbegun(layout.state) and _user(layout.user) is None else ""
    try:
        with acting_as(who):
            keys, _ = DkimKeyFolder(config.storage.state).read()
    except PermissionError as error:
        raise SetupTrouble(_not_allowed(error)) from None
    now = time.time()
    keyed = {key.domain for key in keys if key.state(now) in (KeyState.WAITING, KeyState.ACTIVE)}
    account = wanted or config.postmaster
    accounts = AccountsFile(config.accounts.file, config.domains, config.postmaster)
    try:
        with acting_as(who):
            accounts.load()
    except AccountsError as error:
        raise SetupTrouble(str(error)) from None
    is_there = accounts.account(account) is not None or (wanted is None and accounts.alias(account) is not None)
    return Missing(
        user,
        tuple(domain for domain in config.domains if domain not in keyed),
        None if is_there or account.domain not in config.domains else account,
    )


def apply(
    found: Changes,
    lacking: Missing,
    config: Config,
    layout: Layout,
    secrets: Secrets,
    troubles: Callable[[Config], list[str]],
    make_keys: Callable[[DkimKeyFolder, str], object],
) -> None:
    """Write it all but the account. `troubles` looks into the files that a configuration names.

    Raises `SetupTrouble`, `OSError`.
    """
    if lacking.user:
        _add_user(lacking.user, layout.state)
    who = identity(layout)
    make_state_folders([layout.state], who)
    if secrets.smarthost:
        text = f"{secrets.smarthost}\n"
        with acting_as(who):
            put(PlannedFile(layout.smarthost_password, text, "", 0o600, Owner.SERVICE), None)
    with acting_as(who):
        wrong = troubles(config)
    if wrong:
        raise SetupTrouble("\n".join((*wrong, _nothing_but(secrets))))
    write_changes(found, who)
    make_drop_folder(config.sendmail.drop, *(() if who is None else (who.uid, who.gid)))
    with acting_as(who):
        _make_keys(lacking.domains, config.storage.state, make_keys)
        _make_certificate(config)


def make_account(lacking: Missing, config: Config, layout: Layout, secrets: Secrets) -> None:
    """The first account, last of all: right after it its password is shown. Raises `SetupTrouble`."""
    if lacking.account is not None:
        with acting_as(identity(layout)):
            _add_account(lacking.account, config.accounts.file, secrets.account)


def _nothing_but(secrets: Secrets) -> str:
    return f"nothing was written{' but the password of the smarthost' if secrets.smarthost else ''}"


def _make_keys(domains: tuple[str, ...], state: Path, make_keys: Callable[[DkimKeyFolder, str], object]) -> None:
    if not domains:
        return
    folder = DkimKeyFolder(state)
    with folder.changing():
        for domain in domains:
            make_keys(folder, domain)


def _make_certificate(config: Config) -> None:
    """The server would make it at its first start; made now, its TLSA record is printed with the others."""
    if config.tls.certificate is not None or config.acme.is_on:
        return
    try:
        ensure_self_signed(config.storage.state / "tls", config.hostname, time.time())
    except CertificateTrouble as trouble:
        raise SetupTrouble(str(trouble)) from None


def _add_account(mailbox: Mailbox, path: Path, password: str) -> None:
    hashed = Passwords().hash(password)
    scram = scram_line(password, hashed)
    try:
        with editing(path) as document:
            document.add_account(mailbox, hashed, scram)
    except EntryExists:
        raise SetupTrouble(f"somebody has just made {mailbox}; its password is not the one shown here") from None
    except AccountsError as error:
        raise SetupTrouble(str(error)) from None


def useradd(user: str, home: Path) -> tuple[str, ...]:
    """The command that makes a user for the server."""
    shell = "/usr/sbin/nologin"
    return ("useradd", "--system", "--user-group", "--home-dir", str(home), "--shell", shell, user)


def _add_user(user: str, home: Path) -> None:
    command = useradd(user, home)
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_USERADD_S)
    except FileNotFoundError:
        raise SetupTrouble(f"there is no useradd here: make a system user {user}, then run this again") from None
    except subprocess.SubprocessError as error:
        said = str(getattr(error, "stderr", "") or error).strip()
        raise SetupTrouble(f"the user {user} cannot be made: {said}") from None


def _user(name: str) -> Identity | None:
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        return None
    return Identity(found.pw_uid, found.pw_gid)


def _not_allowed(error: OSError) -> str:
    return f"{error.filename} may not be read: run this as root, or as the user the server runs as"
