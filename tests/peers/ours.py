"""Our server as the peers meet it: a certificate from the test authority, two accounts with known passwords."""

import shutil
import smtplib
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.integration.server import HOST, Server
from tests.peers.certificates import Certificate
from tests.peers.running import give_to

JOE, JOES_PASSWORD = "joe@example.test", "secret"
ANN, ANNS_PASSWORD = "ann@example.test", "two short words"  # people have passwords with spaces


class OurServer(Server):
    """`Server` for tests with other programs.

    With `user` it runs under that user's rights, which must be able to pass `folder`.
    """

    def __init__(
        self,
        folder: Path,
        certificate: Certificate,
        settings: Mapping[str, object] | None = None,
        *,
        user: str = "",
    ) -> None:
        # Copies of its own, so that they belong to the user who must read them.
        chain, key = (shutil.copy(path, folder) for path in (certificate.chain, certificate.private_key))
        tls = {"certificate": str(chain), "private_key": str(key)}
        settings = {"postmaster": JOE, **(settings or {}), "tls": tls}
        super().__init__(folder, settings, accounts=())
        self.add_account(JOE, JOES_PASSWORD)
        self.add_account(ANN, ANNS_PASSWORD)
        if user:
            self.maildirs.mkdir(exist_ok=True)
            give_to(folder, user)
            self.twistd_options += ["--uid", user, "--gid", user]

    def add_account(self, address: str, password: str) -> None:
        """As an administrator does: `mailserver account add`."""
        self.cli("account", "add", address, "--password-stdin", stdin=password + "\n")

    def deliver(self, sender: str, recipients: Sequence[str], content: bytes) -> None:
        """Hand over a message as a stranger's server does; `content` has CRLF line ends."""
        with smtplib.SMTP(HOST, self.ports["smtp"], timeout=30) as client:
            client.sendmail(sender, recipients, content, mail_options=["BODY=8BITMIME"])
