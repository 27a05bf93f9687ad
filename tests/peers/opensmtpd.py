"""OpenSMTPD from an unpacked package: an MTA whose paths and users were fixed when it was built."""

import grp
import pwd
from pathlib import Path

from tests.peers.certificates import Certificate
from tests.peers.programs import PEERS_ROOT, need, need_peer, need_root, peer_environment
from tests.peers.running import HOST, MAILBOX_OWNER, Daemon, free_port, give_to

# Its Debian package makes these users; here only OpenSMTPD itself sees them.
_USERS = ("opensmtpd", "opensmtpq")
# Where it looks for them, for its spool, its socket and its empty folder. Nothing of the machine's own is touched.
_SCRIPT = """\
set -eu
mount -t overlay peers -o "lowerdir=$1:/usr" /usr
mount --bind "$2/passwd" /etc/passwd
mount --bind "$2/group" /etc/group
mount --bind "$2/spool" /var/spool
mount --bind "$2/lib" /var/lib
mount --bind "$2/run" /run
exec /usr/sbin/smtpd -d -f "$2/smtpd.conf"
"""


class OpenSmtpd:
    """One OpenSMTPD, all its files under `home`, a folder that every user may pass.

    It takes mail for `domain` into `maildir(local_part)` for the local parts in `users` only; those in `put_off` are
    told to come back later, until `take_all`. With `certificate` it offers STARTTLS, and then no handshake succeeds:
    release 6.8 and OpenSSL 3 do not get along as a server. `relay_to` is a port of this machine to which it hands all
    mail for other domains, over TLS, which works.
    """

    def __init__(
        self,
        home: Path,
        *,
        domain: str = "remote.test",
        users: tuple[str, ...] = ("bob",),
        put_off: tuple[str, ...] = (),
        certificate: Certificate | None = None,
        relay_to: int | None = None,
    ) -> None:
        need_root("OpenSMTPD")
        need_peer("usr/sbin/smtpd")
        self.home = home
        self.domain = domain
        self.port = free_port()
        self._mailboxes = home / "mailboxes"
        self._users = users
        self._certificate = certificate
        self._relay_to = relay_to
        for name in ("spool", "run", "lib/opensmtpd/empty", "mailboxes"):
            (home / name).mkdir(parents=True)
            (home / name).chmod(0o711)
        for user in users:
            (self._mailboxes / user).mkdir()
        give_to(self._mailboxes, MAILBOX_OWNER)
        self._write_users()
        self._write_configuration(put_off)
        arguments = ["sh", "-c", _SCRIPT, "opensmtpd", str(PEERS_ROOT / "usr"), str(home)]
        command = [need("unshare"), "--mount", "--propagation", "private", *arguments]
        self._daemon = Daemon("OpenSMTPD", home, command, peer_environment())

    def start(self) -> "OpenSmtpd":
        """Start it and wait for its banner."""
        self._daemon.start(self.port, b"220 ")
        return self

    def stop(self) -> None:
        """Stop all its processes. Queue and mailboxes stay; `start` may follow, on the same port."""
        self._daemon.stop()
        (self.home / "run" / "smtpd.sock").unlink(missing_ok=True)

    def take_all(self) -> None:
        """Put nobody off any more."""
        self.stop()
        self._write_configuration(())
        self.start()

    @property
    def pid(self) -> int:
        """Its first process, which leads a group of its own."""
        return self._daemon.pid

    def maildir(self, local_part: str) -> Path:
        """Where mail for `local_part@domain` lands."""
        return self._mailboxes / local_part

    def read_log(self) -> str:
        """The end of what it said."""
        return self._daemon.read_log()

    def _write_users(self) -> None:
        taken = {entry.pw_uid for entry in pwd.getpwall()} | {entry.gr_gid for entry in grp.getgrall()}
        free = [number for number in range(900, 1000) if number not in taken]
        passwd, group = Path("/etc/passwd").read_text(), Path("/etc/group").read_text()
        for name, number in zip(_USERS, free, strict=False):
            passwd += f"{name}:x:{number}:{number}::/var/lib/opensmtpd/empty:/bin/false\n"
            group += f"{name}:x:{number}:\n"
        (self.home / "passwd").write_text(passwd)
        (self.home / "group").write_text(group)

    def _write_configuration(self, put_off: tuple[str, ...]) -> None:
        owner = pwd.getpwnam(MAILBOX_OWNER)
        homes = ", ".join(f'"{one}" = "{owner.pw_uid}:{owner.pw_gid}:{self.maildir(one)}"' for one in self._users)
        name = f"mx.{self.domain}"
        lines = [f"table users {{ {homes} }}", "smtp max-message-size 100M"]
        listen = f'listen on {HOST} port {self.port} hostname "{name}"'
        if self._certificate is not None:
            lines.append(f'pki "{name}" cert "{self._certificate.chain}"')
            lines.append(f'pki "{name}" key "{self._certificate.private_key}"')
            listen += f' tls pki "{name}"'
        if put_off:
            lines.append("table late { " + ", ".join(f'"{one}@{self.domain}"' for one in put_off) + " }")
            lines.append('filter later phase rcpt-to match rcpt-to <late> reject "450 4.7.1 come back later"')
            listen += " filter later"
        lines.append(listen)
        lines.append(f'action "in" maildir "{self._mailboxes}/%{{user.username}}" userbase <users>')
        lines.append(f'match from any for domain "{self.domain}" action "in"')
        if self._relay_to is not None:
            lines.append(f'action "out" relay host "smtp+tls://{HOST}:{self._relay_to}" helo "{name}" tls no-verify')
            lines.append('match from any for any action "out"')
        (self.home / "smtpd.conf").write_text("".join(line + "\n" for line in lines))
