"""What the `sendmail` command takes from the configuration: three keys, read leniently. Blocking.

Mail must not be lost because somebody is just editing the configuration, or because the caller may not read it. So
nothing is checked here but what is used; without a configuration the defaults stand, and the server puts in what only
it knows (domains, for bare names).
"""

import os.path
import socket
import tomllib
from dataclasses import dataclass
from pathlib import Path

# As in `config.schema`; importing that would take longer than the rest of the command.
DEFAULT_DROP = Path("/var/spool/mailserver-drop")
DEFAULT_MAX_OCTETS = 50_000_000
# A link called sendmail is run in any folder by any program, so nothing in the working directory counts for it.
SYSTEM_CONFIG = Path("/etc/mailserver/mailserver.toml")
CHECKOUT_CONFIG = Path("etc/mailserver.toml")
_MAX_CONFIG_OCTETS = 1_000_000


class ConfigFault(Exception):
    """A configuration that was named cannot be used."""


@dataclass(frozen=True, slots=True)
class Settings:
    """`remark` tells why the configuration was not used, for the text of a failure; empty when it was."""

    drop: Path
    hostname: str
    max_octets: int
    remark: str = ""


def read_settings(config: Path | None, drop: Path | None, *, is_link: bool) -> Settings:
    """The settings in force. `config` and `drop` are what the caller named.

    Raises `ConfigFault` only for a configuration that was named.
    """
    table: dict[str, object] = {}
    remark = ""
    path = config or _found(is_link=is_link)
    if path is not None:
        try:
            table = _read(path)
        except (OSError, ValueError, RecursionError) as trouble:
            remark = f"{path} cannot be read: {getattr(trouble, 'strerror', None) or trouble}"
            if config is not None:
                raise ConfigFault(remark) from None
    base = os.path.abspath(path or SYSTEM_CONFIG)  # noqa: PTH100 - as the server reads it
    written = _value(table, "sendmail", "drop")
    folder = drop or DEFAULT_DROP
    if drop is None and isinstance(written, str) and written:
        folder = Path(os.path.normpath(Path(base).parent / written))
    hostname = table.get("hostname")
    return Settings(
        folder,
        hostname if isinstance(hostname, str) and hostname else socket.gethostname(),
        _octets(_value(table, "smtp", "max_message_size")),
        remark,
    )


def _found(*, is_link: bool) -> Path | None:
    places = (SYSTEM_CONFIG,) if is_link else (CHECKOUT_CONFIG, SYSTEM_CONFIG)
    for place in places:
        try:
            place.stat()
        except FileNotFoundError:
            continue
        except OSError:
            pass
        return place
    return None


def _read(path: Path) -> dict[str, object]:
    with path.open("rb") as file:
        octets = file.read(_MAX_CONFIG_OCTETS)
    return tomllib.loads(octets.decode("utf-8-sig"))


def _value(table: dict[str, object], section: str, key: str) -> object:
    inner = table.get(section)
    return inner.get(key) if isinstance(inner, dict) else None


def _octets(written: object) -> int:
    """A size as `[smtp] max_message_size` has it."""
    if written is None:
        return DEFAULT_MAX_OCTETS
    if isinstance(written, int) and written > 0:
        return written
    from mailserver.config.fault import Wrong
    from mailserver.config.values import size

    try:
        read = size(minimum=1).read(written, Path())
    except Wrong:
        return DEFAULT_MAX_OCTETS
    return read if isinstance(read, int) else DEFAULT_MAX_OCTETS
