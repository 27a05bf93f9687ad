"""Where a queued recipient goes now: our own mailboxes, a fixed route, the smarthost, or the domain's mail hosts.

One `Destinations` answers for the whole server; it looks into the tables in force, so that a changed alias or account
counts at the next attempt.
"""

from pathlib import Path
from typing import assert_never

from mailserver.config import Config
from mailserver.mail.address import Mailbox
from mailserver.mail.route import FixedRoute, Login, MxRoute, SmarthostRoute
from mailserver.policy.routing import CyclicAlias, DanglingAlias, DisabledMailbox, Elsewhere, Here, UnknownMailbox
from mailserver.policy.routing import find_route as find_mailbox
from mailserver.ports import Destination, Directory, LocalMailboxes, NoDestination


class PasswordFileTrouble(Exception):
    """The smarthost's password cannot be had. The text is for the operator."""


class Destinations:
    """`FindDestination` as a callable. `smarthost` None: mail leaves by MX."""

    def __init__(self, config: Config, directory: Directory, smarthost: SmarthostRoute | None) -> None:
        self._fixed = {domain: FixedRoute(at.host, at.port) for domain, at in config.relay.routes.items()}
        self._directory = directory
        self._smarthost = smarthost
        self._smarthost_domains = frozenset(config.relay.smarthost_domains)
        self._smarthost_after = config.relay.smarthost_after

    def __call__(self, mailbox: Mailbox, attempts: int = 0) -> Destination:
        """From memory, at once. `attempts` are those that were made without success."""
        found = find_mailbox(mailbox, self._directory)
        match found:
            case Here(mailboxes, outside, _):
                return LocalMailboxes(mailboxes, outside)
            case Elsewhere():
                return self._outside(mailbox, attempts)
            case UnknownMailbox():
                return NoDestination("there is no such mailbox", "5.1.1")
            case DisabledMailbox():
                return NoDestination("the mailbox is disabled", "5.2.1")
            case DanglingAlias():
                return NoDestination("the alias reaches nobody", "5.1.1")
            case CyclicAlias():
                return NoDestination("the alias leads only back to itself", "5.4.6")
            case _:
                assert_never(found)

    def _outside(self, mailbox: Mailbox, attempts: int) -> Destination:
        fixed = self._fixed.get(mailbox.domain)
        if fixed is not None:
            return fixed
        is_meant = not self._smarthost_domains or mailbox.domain in self._smarthost_domains
        if self._smarthost is not None and is_meant and attempts >= self._smarthost_after:
            return self._smarthost
        return MxRoute(mailbox.domain)


def smarthost_route(config: Config) -> SmarthostRoute | None:
    """The configured smarthost with its login; reads the password's file (blocking). Raises `PasswordFileTrouble`."""
    relay = config.relay
    if relay.smarthost is None:
        return None
    login = None
    if relay.smarthost_username and relay.smarthost_password_file is not None:
        login = Login(relay.smarthost_username, _password(relay.smarthost_password_file))
    return SmarthostRoute(
        relay.smarthost.host, relay.smarthost.port, relay.smarthost_tls, login, relay.smarthost_ca_file
    )


def _password(path: Path) -> str:
    """The first line of the file."""
    try:
        with path.open("rb") as file:
            line = file.readline(1024)
    except OSError as trouble:
        raise PasswordFileTrouble(
            f"relay.smarthost_password_file: {path} cannot be read: {(trouble.strerror or str(trouble)).lower()}"
        ) from None
    try:
        password = line.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise PasswordFileTrouble(f"relay.smarthost_password_file: {path} is not UTF-8") from None
    if not password:
        raise PasswordFileTrouble(f"relay.smarthost_password_file: {path} is empty; its first line is the password")
    return password
