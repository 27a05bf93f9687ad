"""chasquid from an unpacked package: another MTA with AUTH over TLS and SMTPUTF8."""

import shutil
import subprocess
from pathlib import Path

from tests.peers.certificates import Certificate
from tests.peers.programs import need, need_peer, peer_environment
from tests.peers.running import HOST, Daemon, free_port

# Files a message the Maildir way. Arguments: the mailboxes' folder, the user.
_FILE_INTO_MAILDIR = """\
#!/bin/sh
set -eu
box="$1/$2"
mkdir -p "$box/tmp" "$box/new" "$box/cur"
name=$(mktemp "$box/tmp/XXXXXXXXXXXX")
cat >"$name"
mv "$name" "$box/new/"
"""


class Chasquid:
    """One chasquid for `domain`: MX on `port`, submission with AUTH on `submission_port`.

    `users` gives each mailbox's password. All its files are under `home`. With `puts_off` every message is told to come
    back later, until `take_all`. `relay_to` is the port where it finds the MX of other domains; their names are asked
    of 127.0.0.1, port 53, so it must run in a network of its own.
    """

    def __init__(
        self,
        home: Path,
        *,
        certificate: Certificate,
        domain: str = "remote.test",
        users: dict[str, str] | None = None,
        puts_off: bool = False,
        relay_to: int | None = None,
        host: str = HOST,
        port: int = 0,
    ) -> None:
        self.home = home
        self.domain = domain
        self.host, self.port = host, port or free_port()
        self.submission_port = free_port()
        self._mailboxes = home / "mailboxes"
        conf = home / "conf"
        for folder in (self._mailboxes, conf / "domains" / domain, conf / "certs" / f"mx.{domain}", home / "state"):
            folder.mkdir(parents=True, exist_ok=True)
        agent = home / "file-into-maildir"
        agent.write_text(_FILE_INTO_MAILDIR)
        agent.chmod(0o755)
        shutil.copy(certificate.chain, conf / "certs" / f"mx.{domain}" / "fullchain.pem")
        shutil.copy(certificate.private_key, conf / "certs" / f"mx.{domain}" / "privkey.pem")
        (conf / "chasquid.conf").write_text(
            f'hostname: "mx.{domain}"\n'
            f'smtp_address: "{host}:{self.port}"\n'
            f'submission_address: "{HOST}:{self.submission_port}"\n'
            f'data_dir: "{home / "state"}"\n'
            f'mail_log_path: "{home / "chasquid.log"}"\n'
            f'mail_delivery_agent_bin: "{agent}"\n'
            f'mail_delivery_agent_args: "{self._mailboxes}"\n'
            'mail_delivery_agent_args: "%to_user%"\n'
            "max_data_size_mb: 100\n"
        )
        for user, password in (users or {"bob": "secret"}).items():
            subprocess.run(
                [
                    need_peer("usr/bin/chasquid-util"),
                    f"-C={conf}",
                    "user-add",
                    f"{user}@{domain}",
                    f"--password={password}",
                ],
                env=peer_environment(),
                check=True,
                capture_output=True,
                timeout=20,
            )
        self._hook = conf / "hooks" / "post-data"
        if puts_off:
            self._hook.parent.mkdir()
            self._hook.write_text("#!/bin/sh\necho come back later\nexit 1\n")
            self._hook.chmod(0o755)
        command = [need_peer("usr/bin/chasquid"), f"-config_dir={conf}"]
        if relay_to is not None:
            command = [*_with_resolver(home), *command, f"-testing__outgoing_smtp_port={relay_to}"]
        self._daemon = Daemon("chasquid", home, command, peer_environment())

    def start(self) -> "Chasquid":
        """Start it and wait for its banner."""
        self._daemon.start(self.port, b"220 ", self.host)
        return self

    def stop(self) -> None:
        """Stop it; `start` may follow, on the same ports."""
        self._daemon.stop()

    @property
    def pid(self) -> int:
        """Its process, which leads a group of its own."""
        return self._daemon.pid

    def take_all(self) -> None:
        """Put nothing off any more."""
        self._hook.unlink()

    def maildir(self, local_part: str) -> Path:
        """Where mail for `local_part@domain` lands."""
        return self._mailboxes / local_part

    def read_log(self) -> str:
        """The end of its mail log, and what it printed."""
        log = self.home / "chasquid.log"
        return (log.read_text(errors="replace")[-8_000:] if log.exists() else "") + self._daemon.read_log()


def _with_resolver(home: Path) -> list[str]:
    """What to put before a command so that it asks 127.0.0.1 for names: chasquid has no setting for that."""
    resolver = home / "resolv.conf"
    resolver.write_text("nameserver 127.0.0.1\n")
    script = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
    return [need("unshare"), "--mount", "--propagation", "private", "sh", "-c", script, str(resolver)]
