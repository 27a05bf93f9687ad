"""What protected the last conversation with each host that mail went to, on disk.

`<state>/tls-history.json`, one JSON object, a host a line:

    {"version": 1,
    "hosts": [
    ["mx.example.net", "TLSv1.3", 1750000000.0, 0.0, 0.0]
    ]}

A host's name, the TLS version (empty: none), when it was seen, since when the host has been without it, when that was
told; 0.0 for never. A newer version is `NewerFormat` and left alone. Losing the file costs a warning or two.

What a crash can leave: `tls-history.json.new`, which the next save removes first; or an older list. Blocking.
"""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path

from mailserver.ports import PeerTls
from mailserver.store.files import Files
from mailserver.store.spool_json import Damaged, read_list

TLS_HISTORY_VERSION = 1
_MAX_OCTETS = 16 * 1024 * 1024
_MAX_TEXT_CHARS = 255


class TlsHistoryFile:
    """The file. Every method blocks; the caller holds the state lock for all but `read`."""

    def __init__(self, state: Path, files: Files) -> None:
        self.path = state / "tls-history.json"
        self._files = files

    def read(self) -> dict[str, PeerTls]:
        """What is there, nothing for no file. Raises `OSError`, `Damaged` or `NewerFormat`."""
        try:
            octets = self.path.read_bytes()
        except FileNotFoundError:
            return {}
        return decode(octets)

    def set_aside(self) -> Path:
        """Move a damaged file away; where it is now. Raises `OSError`."""
        target = self.path.with_name(self.path.name + ".damaged")
        self._files.rename(str(self.path), str(target))
        return target

    def write(self, hosts: Mapping[str, PeerTls]) -> None:
        """Durable when it returns. Raises `OSError`; then the old list is there, or the new one."""
        temporary = f"{self.path}.new"
        with contextlib.suppress(FileNotFoundError):
            self._files.unlink(temporary)
        self._files.replace(str(self.path), temporary, encode(hosts))


def encode(hosts: Mapping[str, PeerTls]) -> bytes:
    """The whole file."""
    lines = ",\n".join(
        json.dumps([host, one.version, one.seen_at, one.clear_since, one.told_at]) for host, one in hosts.items()
    )
    return f'{{"version": {TLS_HISTORY_VERSION},\n"hosts": [\n{lines}\n]}}\n'.encode("ascii")


def decode(octets: bytes) -> dict[str, PeerTls]:
    """What a file says. Raises `Damaged` or `NewerFormat`."""
    return dict(map(_host, read_list(octets, "hosts", TLS_HISTORY_VERSION, _MAX_OCTETS)))


def _host(item: object) -> tuple[str, PeerTls]:
    match item:
        case [str(host), str(version), float(seen), float(clear), float(told)] if (
            0 < len(host) <= _MAX_TEXT_CHARS and len(version) <= _MAX_TEXT_CHARS
        ):
            return host, PeerTls(version, seen, clear, told)
        case _:
            raise Damaged("a host is not as it should be")
