"""Where setup puts things: in the system's places, or all below one folder, for tests and labs. Pure."""

from pathlib import Path

from mailserver.setup.values import Layout

SERVICE_USER = "mailserver"
_ETC, _STATE = Path("/etc/mailserver"), Path("/var/lib/mailserver")


def system_layout() -> Layout:
    """As the systemd unit expects it: the configuration is root's, all else the service user's."""
    return Layout(
        config=_ETC / "mailserver.toml",
        state=_STATE,
        maildirs=_STATE / "maildirs",
        accounts=_STATE / "accounts.toml",
        drop=Path("/var/spool/mailserver-drop"),
        units=Path("/etc/systemd/system"),
        samples=_ETC / "samples",
        written={
            "storage.maildirs": str(_STATE / "maildirs"),
            "storage.state": str(_STATE),
            "accounts.file": str(_STATE / "accounts.toml"),
        },
        user=SERVICE_USER,
    )


def lab_layout(folder: Path) -> Layout:
    """Everything below an absolute folder, which can be moved as a whole, and belongs to whoever runs this."""
    return Layout(
        config=folder / "etc" / "mailserver.toml",
        state=folder / "var",
        maildirs=folder / "maildirs",
        accounts=folder / "var" / "accounts.toml",
        drop=folder / "drop",
        units=folder / "systemd",
        samples=folder / "samples",
        written={
            "storage.maildirs": "../maildirs",
            "storage.state": "../var",
            "accounts.file": "../var/accounts.toml",
            "sendmail.drop": "../drop",
        },
    )
