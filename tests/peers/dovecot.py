"""Dovecot from an unpacked package: POP3 and IMAP on Maildirs, and SASL for Postfix."""

import os
from pathlib import Path

from tests.peers.programs import PEERS_ROOT, need, need_peer, need_root
from tests.peers.running import HOST, Daemon, free_port

# Users every Debian has; Dovecot wants two that differ.
INTERNAL_USER, LOGIN_USER = "mail", "nobody"

_CONFIGURATION = """\
protocols = pop3 imap
listen = {host}
base_dir = {home}/run
state_dir = {home}/state
log_path = {home}/dovecot.log
auth_verbose = yes
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_failure_delay = 0
auth_cache_size = 1M
default_internal_user = {internal_user}
default_internal_group = {internal_user}
default_login_user = {login_user}
first_valid_uid = 0
mail_location = maildir:{maildirs}/%Ld/%Ln:INDEX={home}/index/%u
{settings}
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={home}/homes/%u
}}
service pop3-login {{
  chroot =
  inet_listener pop3 {{
    port = {pop3_port}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {imap_port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service anvil {{
  chroot =
  # No penalty for an address whose logins failed: a test would wait for it.
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  chroot =
}}
{sasl}
"""

_SASL = """\
service auth {{
  unix_listener {socket} {{
    mode = 0666
  }}
}}
"""


class Dovecot:
    """One Dovecot on `maildirs/<domain>/<local-part>`; every login with `password` is let in.

    All its own files are under `home`, a folder that every user may pass. It reads mail as the owner of `maildirs`,
    which must not be root. `sasl_socket` is where Postfix may ask it
    for passwords. `settings` are further lines of its configuration.
    """

    def __init__(
        self,
        home: Path,
        maildirs: Path,
        *,
        password: str = "secret",
        sasl_socket: Path | None = None,
        settings: str = "",
    ) -> None:
        need_root("Dovecot")
        self.home = home
        self.maildirs = maildirs
        self.pop3_port = free_port()
        self.imap_port = free_port()
        owner = maildirs.stat()
        assert owner.st_uid != 0, f"Dovecot refuses to work as root: {maildirs} must belong to another user"
        for folder in ("run", "state", "homes", "index"):
            (home / folder).mkdir(parents=True, exist_ok=True)
        for folder in ("homes", "index"):
            os.chown(home / folder, owner.st_uid, owner.st_gid)
        self._log = home / "dovecot.log"
        configuration = home / "dovecot.conf"
        configuration.write_text(
            _CONFIGURATION.format(
                host=HOST,
                home=home,
                internal_user=INTERNAL_USER,
                login_user=LOGIN_USER,
                maildirs=maildirs,
                password=password,
                uid=owner.st_uid,
                gid=owner.st_gid,
                pop3_port=self.pop3_port,
                imap_port=self.imap_port,
                settings=settings,
                sasl=_SASL.format(socket=sasl_socket) if sasl_socket else "",
            )
        )
        self._daemon = Daemon("Dovecot", home, _as_if_installed(configuration), {"PATH": "/usr/sbin:/usr/bin"})

    def start(self) -> "Dovecot":
        """Start it and wait for the POP3 greeting."""
        self._daemon.start(self.pop3_port, b"+OK")
        return self

    def stop(self) -> None:
        """Stop all its processes."""
        self._daemon.stop()

    @property
    def pid(self) -> int:
        """Its process group."""
        return self._daemon.pid

    def read_log(self) -> str:
        """The end of its log, and what it printed."""
        log = self._log.read_text(errors="replace") if self._log.exists() else ""
        return log[-8_000:] + self._daemon.read_log()


def _as_if_installed(configuration: Path) -> list[str]:
    """The command that starts Dovecot with the unpacked tree laid over /usr, seen by Dovecot alone.

    Unlike Postfix it looks for its parts under paths that were fixed when it was built. A mount namespace of its own
    gives it those without installing anything.
    """
    need_peer("usr/sbin/dovecot")
    overlay = f"lowerdir={PEERS_ROOT / 'usr'}:/usr"
    script = 'mount -t overlay peers -o "$0" /usr && exec /usr/sbin/dovecot -F -c "$1"'
    return [need("unshare"), "--mount", "--propagation", "private", "sh", "-c", script, overlay, str(configuration)]
