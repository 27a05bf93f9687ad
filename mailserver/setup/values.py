"""What `mailserver setup` is told and finds, and the plan that follows, as values. Nothing here asks or writes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mailserver.mail.address import Mailbox
from mailserver.mail.dns import IpAddress
from mailserver.survey.values import NameServer

# What a key of the configuration may be set to here. A tuple is a list in TOML.
Setting = str | bool | int | tuple[str, ...]
Settings = Mapping[str, Setting]


def none() -> Mapping[str, Any]:
    """No settings."""
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Answers:
    """What the owner said, on the command line or when asked. Empty is *not said*.

    `smarthost` is `host:port`; `smarthost_username` its login. `has_agreed`: to the terms of service of the authority
    for certificates. `port_offset` is for labs: everything listens on 127.0.0.1 only, so many ports above its own.
    `uses_sockets`: systemd opens the sockets.
    """

    domain: str
    user: str = ""
    hostname: str = ""
    smarthost: str = ""
    smarthost_username: str = ""
    has_agreed: bool = False
    webroot: Path | None = None
    dns_hook: Path | None = None
    addresses: tuple[IpAddress, ...] = ()
    port_offset: int = 0
    uses_sockets: bool = False


@dataclass(frozen=True, slots=True)
class Existing:
    """A configuration that is there already: its keys as `table.key`, and what setup last decided for it.

    A value that is not what setup decided is the owner's, and stays.
    """

    settings: Mapping[str, object] = field(default_factory=none)
    decided: Mapping[str, object] = field(default_factory=none)

    def is_owners(self, key: str) -> bool:
        """Whether somebody else than setup set this key."""
        return key in self.settings and self.settings[key] != self.decided.get(key, _NOTHING)


_NOTHING = object()


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things go. All paths are absolute.

    `written` has the paths as the configuration says them, by key: relative to its folder in a lab, so that the whole
    can be moved. `user` is whose the state is; empty: whoever runs this.
    """

    config: Path
    state: Path
    maildirs: Path
    accounts: Path
    drop: Path
    units: Path
    samples: Path
    written: Mapping[str, str]
    user: str = ""

    @property
    def record(self) -> Path:
        """Where setup notes what it decided."""
        return self.config.with_name("setup.json")

    @property
    def zone(self) -> Path:
        """The DNS records."""
        return self.config.with_name("records.zone")

    @property
    def smarthost_password(self) -> Path:
        """In the state folder, for only the server may read it."""
        return self.state / "smarthost-password"


@dataclass(frozen=True, slots=True)
class Here:
    """What the disk of this machine says. `server`: who holds the state folder, such as `process 4711 (server)`.

    `webroot`: the folder that a web server here shows. `name_servers`: those of the system. `is_offline`: nobody was
    asked anything. `program`: the `twistd` that is going to run.
    """

    server: str = ""
    webroot: Path | None = None
    name_servers: tuple[NameServer, ...] = ()
    is_offline: bool = False
    program: Path | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """One thing decided. `topic` is a word for programs, `says` and `reason` are for people."""

    topic: str
    says: str
    reason: str
    settings: Settings = field(default_factory=none)


@dataclass(frozen=True, slots=True)
class Errand:
    """What only the owner can do, with the commands that do it. `is_needed`: mail does not work before."""

    text: str
    commands: tuple[str, ...] = ()
    is_needed: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be. `settings` are all keys that setup decides, with the owner's values where he set them.

    `decided` is what of it is setup's own, to be told from the owner's next time. `kept` tells of the owner's values, a
    line each. `first` is the account to be made; None when none was asked for. `needs_smarthost`: mail will not go out,
    or not be taken, without one; `smarthost_reason`: what speaks for one while there is none. `addresses` are the
    public ones.
    """

    hostname: str
    domains: tuple[str, ...]
    postmaster: Mailbox
    first: Mailbox | None
    decisions: tuple[Decision, ...]
    settings: Settings
    decided: Settings
    errands: tuple[Errand, ...] = ()
    kept: tuple[str, ...] = ()
    needs_smarthost: bool = False
    smarthost_reason: str = ""
    addresses: tuple[IpAddress, ...] = ()
