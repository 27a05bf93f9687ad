"""Postfix from an unpacked package, with a configuration, queue and mailboxes of its own."""

import pwd
import shutil
import subprocess
from pathlib import Path

from tests.peers.certificates import Certificate
from tests.peers.programs import PEERS_ROOT, need_peer, need_root, peer_environment
from tests.peers.running import HOST, Daemon, free_port

# Postfix insists on a mail owner, a group for `postdrop` and unprivileged rights that are three different ones. These
# exist on every Debian, so no user has to be made.
MAIL_OWNER, DROP_GROUP, DELIVERY_USER = "mail", "news", "uucp"

_QUEUE_FOLDERS = [
    "active",
    "bounce",
    "corrupt",
    "defer",
    "deferred",
    "flush",
    "hold",
    "incoming",
    "private",
    "saved",
    "trace",
]

# service type private unpriv chroot wakeup maxproc command
_MASTER = """\
{listen} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


class Postfix:
    """One Postfix, all its files under `home`, a folder that every user may pass (its processes change their user).

    It takes mail for `domain` into `maildir(local_part)` for the local parts in `users` only.

    With `certificate` it offers STARTTLS; `settings` are further lines of main.cf.
    """

    def __init__(
        self,
        home: Path,
        *,
        domain: str = "remote.test",
        users: tuple[str, ...] = ("bob",),
        certificate: Certificate | None = None,
        settings: dict[str, str] | None = None,
        host: str = HOST,
        port: int = 0,
    ) -> None:
        need_root("Postfix")
        self.home = home
        self.domain = domain
        self.host, self.port = host, port or free_port()
        self._mailboxes = home / "mailboxes"
        self._log = home / "postfix.log"
        self._daemons = need_peer("usr/lib/postfix/sbin/master").removesuffix("/master")
        self._write_folders()
        self._write_configuration(users, certificate, settings or {})
        command = [f"{self._daemons}/master", "-c", str(home / "conf"), "-d"]
        self._daemon = Daemon("Postfix", home, command, peer_environment())

    def start(self) -> "Postfix":
        """Start it and wait for its banner."""
        self._daemon.start(self.port, b"220 ", self.host)
        return self

    def stop(self) -> None:
        """Stop all its processes. Queue and mailboxes stay; `start` may follow, on the same port."""
        self._daemon.stop()
        (self.home / "queue" / "pid" / "master.pid").unlink(missing_ok=True)

    @property
    def pid(self) -> int:
        """Its process group."""
        return self._daemon.pid

    def maildir(self, local_part: str) -> Path:
        """Where mail for `local_part@domain` lands."""
        return self._mailboxes / local_part

    def read_log(self) -> str:
        """The end of its mail log, and what it printed."""
        log = self._log.read_text(errors="replace") if self._log.exists() else ""
        return log[-8_000:] + self._daemon.read_log()

    def flush(self) -> None:
        """Try everything in its queue now (`postqueue -f`)."""
        self._run("usr/sbin/postqueue", "-f")

    def queue(self) -> str:
        """What is in its queue, as `postqueue -j` prints it: one JSON object a line."""
        return self._run("usr/sbin/postqueue", "-j")

    def _run(self, program: str, *arguments: str) -> str:
        command = [need_peer(program), "-c", str(self.home / "conf"), *arguments]
        done = subprocess.run(command, env=peer_environment(), capture_output=True, text=True, timeout=20)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _write_folders(self) -> None:
        queue, lib = self.home / "queue", self.home / "lib"
        for folder in (self.home / "conf", queue, queue / "pid", lib, self._mailboxes):
            folder.mkdir(parents=True, exist_ok=True)
        for name in _QUEUE_FOLDERS:
            (queue / name).mkdir(mode=0o700)
            _give(queue / name, MAIL_OWNER)
        for name, mode in (("maildrop", 0o1730), ("public", 0o2710)):
            (queue / name).mkdir()
            _give(queue / name, MAIL_OWNER, DROP_GROUP)
            (queue / name).chmod(mode)
        _give(lib, MAIL_OWNER)
        _give(self._mailboxes, DELIVERY_USER)

    def _write_configuration(
        self, users: tuple[str, ...], certificate: Certificate | None, settings: dict[str, str]
    ) -> None:
        delivery = pwd.getpwnam(DELIVERY_USER)
        # Without recipients it takes no mail of its own: a pure sender.
        mailboxes = " ".join(f"{{{user}@{self.domain} = {user}/}}" for user in users)
        main = {
            "compatibility_level": "3.6",
            "queue_directory": str(self.home / "queue"),
            "data_directory": str(self.home / "lib"),
            "daemon_directory": self._daemons,
            "command_directory": str(PEERS_ROOT / "usr/sbin"),
            "shlib_directory": str(PEERS_ROOT / "usr/lib/postfix"),
            "meta_directory": str(PEERS_ROOT / "etc/postfix"),
            "maillog_file": str(self._log),
            "maillog_file_prefixes": str(self.home),
            "import_environment": "MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG TZ LANG=C LD_LIBRARY_PATH",
            "mail_owner": MAIL_OWNER,
            "setgid_group": DROP_GROUP,
            "default_privs": DELIVERY_USER,
            "inet_interfaces": HOST,
            "inet_protocols": "ipv4",
            "myhostname": f"mx.{self.domain}",
            "mydestination": "",
            "local_transport": "error:no local mail here",
            "local_recipient_maps": "",
            "alias_maps": "",
            "alias_database": "",
            "mynetworks": "192.0.2.0/24",
            "virtual_mailbox_domains": self.domain,
            "virtual_mailbox_base": str(self._mailboxes),
            "virtual_mailbox_maps": f"inline:{{ {mailboxes} }}" if users else "",
            "virtual_mailbox_limit": "0",
            "virtual_minimum_uid": "1",
            "virtual_uid_maps": f"static:{delivery.pw_uid}",
            "virtual_gid_maps": f"static:{delivery.pw_gid}",
            "virtual_alias_maps": "",
            "message_size_limit": "100000000",
            "smtp_host_lookup": "native",
            "disable_dns_lookups": "yes",
            "minimal_backoff_time": "1s",
            "maximal_backoff_time": "2s",
            "queue_run_delay": "1s",
        }
        if certificate is not None:
            main["smtpd_tls_security_level"] = "may"
            main["smtpd_tls_chain_files"] = f"{certificate.private_key}, {certificate.chain}"
        main.update(settings)
        conf = self.home / "conf"
        (conf / "main.cf").write_text("".join(f"{key} = {value}\n" for key, value in main.items()))
        (conf / "master.cf").write_text(_MASTER.format(listen=f"{self.host}:{self.port}"))


def _give(path: Path, user: str, group: str | None = None) -> None:
    shutil.chown(path, user, group or pwd.getpwnam(user).pw_gid)
