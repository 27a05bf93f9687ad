"""Starts the servers that are measured, each with what a fair comparison needs and nothing more."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import tomlkit

from bench.pop3 import LOGIN, PASSWORD, Client, Pop3Server
from tests.integration.server import Server
from tests.peers.certificates import Authority
from tests.peers.chasquid import Chasquid
from tests.peers.dovecot import Dovecot
from tests.peers.opensmtpd import OpenSmtpd
from tests.peers.postfix import Postfix
from tests.peers.running import MAILBOX_OWNER, free_port, give_to, takes_connections, wait_until

OURS = "mailserver"


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """A running server to send to. `group` is its process group; `syncs` what is on disk when it says 250.

    `most_connections`: with more at once it is too slow to be waited for.
    """

    name: str
    port: int
    recipient: str
    maildir: Path
    group: int
    syncs: str = "file and folder"
    most_connections: int = 10_000

    def empty(self) -> None:
        """Put what came so far aside, under another name.

        Deleting it here would slow the next round down, see `own_folder`.
        """
        new = self.maildir / "new"
        if new.exists():
            aside = self.maildir.with_name(f"{self.maildir.name}-{time.monotonic_ns()}")
            owner = new.stat()
            new.rename(aside)
            new.mkdir(mode=0o700, exist_ok=True)  # a delivery that is late may have made it already
            os.chown(new, owner.st_uid, owner.st_gid)


def our_server(folder: Path, settings: dict[str, dict[str, object]] | None = None) -> Server:
    """Our server as it comes, but for the limits that a load from one address would hit."""
    limits: dict[str, dict[str, object]] = {
        "smtp": {"max_connections_per_client": 2000},
        "pop3": {"max_connections_per_client": 500},
    }
    server = Server(folder, {"postmaster": LOGIN, **limits, **(settings or {})}, accounts=())
    server.cli("account", "add", LOGIN, "--password-stdin", stdin=PASSWORD + "\n")
    return server


def add_accounts(server: Server, logins: Iterable[str]) -> None:
    """Written at once, all with the password of the one that is there: a thousand slow hashes are not what we ask."""
    path = server.config_path.with_name("accounts.toml")
    document = tomlkit.parse(path.read_text())
    accounts = document["accounts"]
    password = accounts[LOGIN]["password"]
    for login in logins:
        accounts[login] = {"password": str(password)}
    path.write_text(tomlkit.dumps(document))


@contextmanager
def ours(folder: Path) -> Iterator[SmtpServer]:
    """Our server, to receive."""
    with our_server(folder) as server:
        yield SmtpServer(OURS, server.ports["smtp"], LOGIN, server.mailbox(LOGIN), server.pid)


@contextmanager
def postfix(folder: Path) -> Iterator[SmtpServer]:
    """Postfix as it comes, but for the limit that a load from one address would hit."""
    folder.mkdir()
    postfix = Postfix(folder, users=("bob",), settings={"smtpd_client_connection_count_limit": "0"}).start()
    try:
        yield SmtpServer("Postfix", postfix.port, "bob@remote.test", postfix.maildir("bob"), postfix.pid, "file")
    finally:
        postfix.stop()


@contextmanager
def chasquid(folder: Path) -> Iterator[SmtpServer]:
    """chasquid as it comes; it syncs nothing. Its delivery agent is a shell script, as its manual suggests."""
    folder.mkdir()
    certificate = Authority(folder).issue("mx.remote.test")
    server = Chasquid(folder / "chasquid", certificate=certificate).start()
    try:
        yield SmtpServer("chasquid", server.port, "bob@remote.test", server.maildir("bob"), server.pid, "nothing")
    finally:
        server.stop()


@contextmanager
def opensmtpd(folder: Path) -> Iterator[SmtpServer]:
    """OpenSMTPD as it comes; it renames and syncs nothing.

    Several messages for one mailbox at once are filed at some ten a second, so only single connections are measured.
    """
    folder.mkdir(mode=0o711)
    server = OpenSmtpd(folder).start()
    try:
        yield SmtpServer("OpenSMTPD", server.port, "bob@remote.test", server.maildir("bob"), server.pid, "nothing", 1)
    finally:
        server.stop()


@contextmanager
def aiosmtpd(folder: Path) -> Iterator[SmtpServer]:
    """aiosmtpd with a handler of a few lines, in a process of its own."""
    with _of_a_few_lines(folder, "aiosmtpd", "bench.aiosmtpd_maildir", "file") as server:
        yield server


@contextmanager
def skeleton(folder: Path) -> Iterator[SmtpServer]:
    """The least that a server on Twisted can do."""
    with _of_a_few_lines(folder, "skeleton", "bench.skeleton", "file and folder") as server:
        yield server


@contextmanager
def _of_a_few_lines(folder: Path, name: str, module: str, syncs: str) -> Iterator[SmtpServer]:
    folder.mkdir()
    port, maildir = free_port(), folder / "maildir"
    command = [sys.executable, "-m", module, str(port), str(maildir)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[1], start_new_session=True) as process:
        try:
            wait_until(lambda: takes_connections(port), f"{name} listens")
            yield SmtpServer(name, port, "bob@remote.test", maildir, process.pid, syncs)
        finally:
            process.kill()


@contextmanager
def ours_with_mailbox(folder: Path, fill: Callable[[Path], None]) -> Iterator[Pop3Server]:
    """Our server, to fetch from a mailbox that `fill` makes."""
    server = our_server(folder)

    def renew() -> None:
        server.restart()
        _remove(server.mailbox(LOGIN))
        # The slow hash of the first login is not what is measured, and Dovecot has none here.
        client = Client(server.ports["pop3"])
        client.login_and_stat()
        client.close()
        _remove(server.mailbox(LOGIN))
        fill(server.mailbox(LOGIN))

    with server:
        yield Pop3Server(OURS, lambda: server.ports["pop3"], renew)


@contextmanager
def dovecot(folder: Path, fill: Callable[[Path], None]) -> Iterator[Pop3Server]:
    """Dovecot, to fetch from a mailbox that `fill` makes."""
    maildirs = folder / "maildirs"
    local_part, _, domain = LOGIN.partition("@")
    mailbox, index = maildirs / domain / local_part, folder / "dovecot" / "index" / LOGIN

    def renew() -> None:
        # Its processes write to their index for a moment after QUIT.
        wait_until(lambda: not _remove(index), "Dovecot's index is gone")
        _remove(mailbox)
        fill(mailbox)
        give_to(maildirs, MAILBOX_OWNER)

    maildirs.mkdir(parents=True)
    give_to(maildirs, MAILBOX_OWNER)
    dovecot = Dovecot(folder / "dovecot", maildirs, password=PASSWORD).start()
    try:
        yield Pop3Server("Dovecot", lambda: dovecot.pop3_port, renew)
    finally:
        dovecot.stop()


def _remove(folder: Path) -> bool:
    """Remove a folder with all that is in it; whether there was one."""
    existed = folder.exists()
    shutil.rmtree(folder, ignore_errors=True)
    return existed
