"""Two servers with several mailboxes each, to fetch from: ours and Dovecot."""

import os
import pwd
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.pop3 import PASSWORD, Client
from bench.servers import OURS, add_accounts, our_server
from tests.peers.certificates import Authority
from tests.peers.dovecot import Dovecot
from tests.peers.running import MAILBOX_OWNER, free_port, give_to

_POP3S = """
ssl = yes
ssl_cert = <{chain}
ssl_key = <{private_key}
service pop3-login {{
  inet_listener bench {{
    port = {port}
    ssl = yes
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class MailboxServer:
    """A running server. `renew` gives mailboxes anew what `fill` makes of each, as if nobody had ever logged in."""

    name: str
    port: Callable[[], int]
    pop3s_port: Callable[[], int]
    renew: Callable[[Sequence[str], Callable[[Path], object]], None]


def logins(count: int) -> list[str]:
    """So many accounts."""
    return [f"user{number}@example.test" for number in range(count)]


@contextmanager
def ours(folder: Path, accounts: Sequence[str]) -> Iterator[MailboxServer]:
    """Our server as a poller sees it: that the passwords are right is remembered from an earlier login."""
    folder.mkdir(mode=0o711)
    certificate = Authority(folder).issue("mail.example.test")
    tls = {"certificate": str(certificate.chain), "private_key": str(certificate.private_key)}
    server = our_server(folder / "mailserver", {"tls": tls})
    add_accounts(server, accounts)

    def renew(names: Sequence[str], fill: Callable[[Path], object]) -> None:
        server.restart()
        for name in names:
            _remove(server.mailbox(name))
            client = Client(server.ports["pop3"])
            client.login_and_stat(name)
            client.close()
            _remove(server.mailbox(name))
            fill(server.mailbox(name))

    with server:
        yield MailboxServer(OURS, lambda: server.ports["pop3"], lambda: server.ports["pop3s"], renew)


@contextmanager
def dovecot(folder: Path, accounts: Sequence[str]) -> Iterator[MailboxServer]:
    """Dovecot as it comes; it takes any name with the right password."""
    del accounts
    folder.mkdir(mode=0o711)
    certificate = Authority(folder).issue("mail.example.test")
    maildirs, home, pop3s_port = folder / "maildirs", folder / "dovecot", free_port()
    maildirs.mkdir()
    give_to(maildirs, MAILBOX_OWNER)
    settings = _POP3S.format(chain=certificate.chain, private_key=certificate.private_key, port=pop3s_port)
    server = Dovecot(home, maildirs, password=PASSWORD, settings=settings).start()

    def renew(names: Sequence[str], fill: Callable[[Path], object]) -> None:
        # Its processes write to their index for a moment after QUIT.
        server.stop()
        for name in names:
            local_part, _, domain = name.partition("@")
            _remove(home / "index" / name)
            _remove(maildirs / domain / local_part)
            (maildirs / domain).mkdir(exist_ok=True)
            fill(maildirs / domain / local_part)
        _give(maildirs)
        server.start()

    try:
        yield MailboxServer("Dovecot", lambda: server.pop3_port, lambda: pop3s_port, renew)
    finally:
        server.stop()


def linked(source: Path) -> Callable[[Path], object]:
    """Fills a mailbox with links to the messages of another, so that all servers read the same cached pages."""
    return lambda target: shutil.copytree(source, target, copy_function=os.link)


def _give(maildirs: Path) -> None:
    """`give_to` for a hundred thousand names of a few files."""
    owner, seen = pwd.getpwnam(MAILBOX_OWNER), set()
    for folder, _, _ in os.walk(maildirs):
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.inode() not in seen:
                    seen.add(entry.inode())
                    os.chown(entry.path, owner.pw_uid, owner.pw_gid)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
