"""When each app password was used last, on disk; what `mailserver account app-password list` shows.

`<state>/last-use.json`, one JSON object, an app password a line:

    {"version": 1,
    "uses": [
    ["alice@example.org", "phone", 1764076080.0, "192.0.2.7", "pop3"]
    ]}

A newer version is `NewerFormat` and left alone. Losing the file loses nothing but the dates. A crash can leave
`last-use.json.new`, which the next save removes first, or dates that are a minute old. Blocking.
"""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mailserver.store.files import Files
from mailserver.store.spool_json import Damaged, read_list

LAST_USE_VERSION = 1
_MAX_OCTETS = 64 * 1024 * 1024

# Folded address and device.
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class LastUse:
    """`at` in seconds since the epoch, `address` of the client, `use` as `submission` or `pop3`."""

    at: float
    address: str
    use: str


class LastUseFile:
    """The file. Every method blocks; only the server writes it."""

    def __init__(self, state: Path, files: Files) -> None:
        self.path = state / "last-use.json"
        self._files = files

    def read(self) -> dict[Key, LastUse]:
        """What is there, nothing for no file. Raises `OSError`, `Damaged` or `NewerFormat`."""
        try:
            octets = self.path.read_bytes()
        except FileNotFoundError:
            return {}
        return decode_uses(octets)

    def write(self, uses: Mapping[Key, LastUse]) -> None:
        """Replace the file atomically. Raises `OSError`; then the old one is there, or the new one."""
        temporary = f"{self.path}.new"
        with contextlib.suppress(FileNotFoundError):
            self._files.unlink(temporary)
        self._files.replace(str(self.path), temporary, encode_uses(uses))


def encode_uses(uses: Mapping[Key, LastUse]) -> bytes:
    """The whole file."""
    lines = ",\n".join(
        json.dumps([address, device, one.at, one.address, one.use]) for (address, device), one in uses.items()
    )
    return f'{{"version": {LAST_USE_VERSION},\n"uses": [\n{lines}\n]}}\n'.encode("ascii")


def decode_uses(octets: bytes) -> dict[Key, LastUse]:
    """What a file says. Raises `Damaged` or `NewerFormat`."""
    return dict(map(_use, read_list(octets, "uses", LAST_USE_VERSION, _MAX_OCTETS)))


def _use(item: object) -> tuple[Key, LastUse]:
    match item:
        case [str(address), str(device), float(at), str(client), str(use)]:
            return (address, device), LastUse(at, client, use)
        case _:
            raise Damaged("a use is not as it should be")
