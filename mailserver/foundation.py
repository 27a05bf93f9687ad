"""What must be right before the server is built: the state folder and its lock, accounts, certificate.

Runs in `makeService` as the user the server will run as (`identity.acting_as`), so that every trouble is one text on
the operator's terminal, with twistd in the foreground or not, and everything made belongs to that user. Blocking.
"""

import errno
import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from mailserver.config import Config
from mailserver.destinations import PasswordFileTrouble, smarthost_route
from mailserver.mail.reply import printable
from mailserver.mail.route import SmarthostRoute
from mailserver.net.tls import CertificateFiles, CertificateTrouble, ServerTls, ensure_self_signed
from mailserver.practice import PracticeAccount, make_practice_accounts
from mailserver.store.account_tables import AccountsError
from mailserver.store.accounts import AccountsFile
from mailserver.store.files import Files
from mailserver.store.state_lock import StateLock, StateLocked


class StartTrouble(Exception):
    """The server cannot start. The text is for the operator: what is wrong and what to do, without traceback."""


@dataclass(slots=True)
class Foundation:
    """What `lay_foundation` found or made. The lock is held."""

    lock: StateLock
    accounts: AccountsFile
    tls: ServerTls
    smarthost: SmarthostRoute | None
    practice: tuple[PracticeAccount, ...]
    # The self-signed certificate, when that is in use.
    self_signed: Path | None


def lay_foundation(config: Config, now: float) -> Foundation:
    """Check and make everything, in an order that leaves nothing behind when something is wrong.

    `now` in seconds since the epoch. Raises `StartTrouble`.
    """
    # Files of the owner's are read first: nothing is made for a start that fails by them.
    tls = _own_certificate(config)
    accounts = AccountsFile(config.accounts.file, config.domains, config.postmaster)
    try:
        smarthost = smarthost_route(config)
        accounts.load()
    except (AccountsError, PasswordFileTrouble) as trouble:
        raise StartTrouble(str(trouble)) from None
    lock = _lock(config.storage.state)
    try:
        _make_maildirs(config.storage.maildirs)
        practice = _practice_accounts(config)
        if practice:
            accounts.load()
        if tls is None and config.acme.is_on:
            from mailserver.acme_keeper import obtained_tls

            tls = obtained_tls(config.storage.state)
        if tls is None:
            tls = ServerTls(ensure_self_signed(config.storage.state / "tls", config.hostname, now))
            return Foundation(lock, accounts, tls, smarthost, practice, tls.files.certificate)
    except (AccountsError, CertificateTrouble, StartTrouble) as trouble:
        lock.release()
        raise StartTrouble(str(trouble)) from None
    return Foundation(lock, accounts, tls, smarthost, practice, None)


def _own_certificate(config: Config) -> ServerTls | None:
    """The owner's certificate, or None when there is to be one of our own making."""
    certificate, private_key = config.tls.certificate, config.tls.private_key
    if certificate is None or private_key is None:
        return None
    try:
        return ServerTls(CertificateFiles(certificate, private_key))
    except CertificateTrouble as trouble:
        raise StartTrouble(f"{config.path}: [tls] {trouble}") from None


def _make_maildirs(root: Path) -> None:
    """The root of all mailboxes; the mailboxes themselves are made by their first message."""
    try:
        Files().make_folders(str(root))
        if not os.access(root, os.W_OK | os.X_OK, effective_ids=True):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(root))
    except OSError as trouble:
        raise StartTrouble(_cannot_write("storage.maildirs", root, trouble)) from None


def _lock(state: Path) -> StateLock:
    try:
        return StateLock(state, "server")
    except StateLocked as trouble:
        raise StartTrouble(
            f"{trouble}: stop that first, or give this server a state folder of its own (storage.state)"
        ) from None
    except OSError as trouble:
        raise StartTrouble(_cannot_write("storage.state", state, trouble)) from None


def _practice_accounts(config: Config) -> tuple[PracticeAccount, ...]:
    try:
        return make_practice_accounts(config)
    except OSError as trouble:
        raise StartTrouble(_cannot_write("storage.state", config.storage.state, trouble)) from None


def _cannot_write(key: str, folder: Path, trouble: OSError) -> str:
    where = trouble.filename or folder
    return (
        f"{key}: {where} cannot be written by user {os.geteuid()}: {(trouble.strerror or str(trouble)).lower()}. "
        f"Make the folder and give it to that user: install -d -m 700 -o USER {folder}"
    )


def running_server(state: Path) -> str:
    """Who holds the state folder, such as `process 4711 (server)`; empty when nobody does. Makes nothing."""
    try:
        descriptor = os.open(state / "lock", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return ""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return printable(os.pread(descriptor, 200, 0).decode("ascii", "replace").strip()) or "another process"
    finally:
        os.close(descriptor)
    return ""
