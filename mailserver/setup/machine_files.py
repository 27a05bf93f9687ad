"""The texts that belong to the machine and not to the server: systemd units, samples for logs and fail2ban. Pure but
for reading the program's own files."""

from dataclasses import dataclass
from enum import Enum
from importlib import resources
from pathlib import Path

from mailserver.setup.listening import ALL, Ports
from mailserver.setup.values import Layout

UNIT = "mailserver.service"
# What the shipped unit says, for a machine set up by it to the letter.
_TWISTD, _CONFIG = "/opt/mailserver/bin/twistd", "/etc/mailserver/mailserver.toml"
_DROP, _STATE = "/var/spool/mailserver-drop", "/var/lib/mailserver"


class Owner(Enum):
    """Whose a file is, when root runs setup."""

    ROOT = "root"
    SERVICE = "service"  # the user the server runs as


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """One file to be written whole. `about` is a line for people."""

    path: Path
    text: str
    about: str
    mode: int = 0o644
    owner: Owner = Owner.ROOT


@dataclass(frozen=True, slots=True)
class Program:
    """Where the program is: the `twistd` that runs the server, and who runs it when there is no service user."""

    twistd: Path
    user: str


def machine_files(layout: Layout, program: Program, ports: Ports, webroot: str = "") -> tuple[PlannedFile, ...]:
    """Unit, sockets, samples. `webroot`: the folder of another web server, for certificates; empty for none."""
    unit = _unit(layout, program, ports, webroot)
    return (
        PlannedFile(layout.units / UNIT, unit, "the systemd unit that starts the server"),
        *_sockets(layout, ports),
        *_samples(layout),
    )


def shipped(name: str) -> str:
    """A file that comes with the program. The unit is in `etc/` of a checkout and in the package when installed."""
    found = resources.files("mailserver.setup") / "files" / name
    if found.is_file():
        return found.read_text("utf-8")
    return (Path(__file__).parents[2] / "etc" / name).read_text("utf-8")


def _unit(layout: Layout, program: Program, ports: Ports, webroot: str) -> str:
    """The shipped unit with this machine's paths; its remarks about installing by hand are left out."""
    text = shipped(UNIT)
    text = "# The systemd unit of mailserver, written by `mailserver setup`.\n\n" + text[text.index("[Unit]") :]
    user = layout.user or program.user
    text = text.replace(_TWISTD, str(program.twistd)).replace(_CONFIG, str(layout.config))
    text = text.replace(_DROP, str(layout.drop))
    text = text.replace("User=mailserver", f"User={user}").replace("Group=mailserver", f"Group={user}")
    text = text.replace("-o mailserver -g mailserver", f"-o {user} -g {user}")
    if str(layout.state) != _STATE:
        text = text.replace(f"WorkingDirectory={_STATE}", f"WorkingDirectory={layout.config.parents[1]}")
        text = text.replace(f"ReadWritePaths=-{layout.drop}", f"ReadWritePaths={layout.config.parents[1]}")
        text = _without(text, "StateDirectory=", "StateDirectoryMode=", "ConfigurationDirectory=", "ProtectHome=")
    elif layout.state not in layout.maildirs.parents:
        text = _and_writes(text, layout.maildirs)
    if webroot:
        text = _and_writes(text, challenge_folder(webroot))
    if ports.uses_sockets:
        names = " ".join(socket_name(service) for service in ALL)
        text = text.replace("[Service]\n", f"[Service]\nSockets={names}\n", 1)
    return text


def challenge_folder(webroot: str) -> Path:
    """Where another web server shows what an authority asks for (RFC 8555 8.3)."""
    return Path(webroot) / ".well-known" / "acme-challenge"


def _and_writes(text: str, folder: Path) -> str:
    """The unit shuts the server out from everything else; `-`: it may be missing."""
    head, line, tail = text.partition("ReadWritePaths=")
    return f"{head}{line}-{folder} {tail}"


def _without(text: str, *keys: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith(keys))


def socket_name(service: str) -> str:
    """The unit of one service's socket."""
    return f"mailserver-{service}.socket"


def _sockets(layout: Layout, ports: Ports) -> tuple[PlannedFile, ...]:
    """One unit each: the server knows its sockets by name."""
    if not ports.uses_sockets:
        return ()
    template = shipped("mailserver.socket")
    return tuple(
        PlannedFile(
            layout.units / socket_name(service),
            template.replace("@SERVICE@", service).replace("@PORT@", str(ports.number(service))),
            f"systemd listens on port {ports.number(service)} for the server",
        )
        for service in ALL
    )


def _samples(layout: Layout) -> tuple[PlannedFile, ...]:
    """None of them is in force before it is copied; each says where to."""
    return tuple(
        PlannedFile(layout.samples / name, shipped(name), about)
        for name, about in (
            ("fail2ban-filter.conf", "a sample: what fail2ban looks for in the log"),
            ("fail2ban-jail.conf", "a sample: how long fail2ban keeps guessers of passwords away"),
            ("journald.conf", "a sample: how long the system keeps the log"),
            ("logrotate.conf", "a sample: for machines that keep the log in files"),
        )
    )
