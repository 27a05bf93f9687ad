"""What each account has sent to other servers lately, on disk.

`<state>/caps.json`, one JSON object, an account a line:

    {"version": 1,
    "accounts": [
    ["alice@example.org", 0.0, [[486111, 3, 7, 2]], "9f86d081884c7d65..."]
    ]}

A folded address; when its owner was last told of a cap (seconds since the epoch, 0.0 never); for each hour since the
epoch the messages, recipients, and recipients that were new; the digests of all it ever wrote to, 16 digits each,
longest ago first. A newer version is `NewerFormat` and left alone. Losing the file lets an account begin anew.

What a crash can leave: `caps.json.new`, which the next save removes first; or a list that is a minute old. Blocking.
"""

import contextlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

from mailserver.store.files import Files
from mailserver.store.spool_json import Damaged, read_list

CAPS_VERSION = 1
_MAX_OCTETS = 256 * 1024 * 1024
_DIGITS = 16
_DIGESTS = re.compile(r"(?:[0-9a-f]{16})*")

Hours = dict[int, tuple[int, int, int]]
# When it was told, the hours, the digests.
Account = tuple[float, Hours, tuple[str, ...]]


class CapsFile:
    """The file. Every method blocks; the caller holds the state lock for all but `read`."""

    def __init__(self, state: Path, files: Files) -> None:
        self.path = state / "caps.json"
        self._files = files

    def read(self) -> dict[str, Account]:
        """What is there, nothing for no file. Raises `OSError`, `Damaged` or `NewerFormat`."""
        try:
            octets = self.path.read_bytes()
        except FileNotFoundError:
            return {}
        return dict(map(_account, read_list(octets, "accounts", CAPS_VERSION, _MAX_OCTETS)))

    def set_aside(self) -> Path:
        """Move a damaged file away; where it is now. Raises `OSError`."""
        target = self.path.with_name(self.path.name + ".damaged")
        self._files.rename(str(self.path), str(target))
        return target

    def write(self, accounts: Mapping[str, Account]) -> None:
        """Durable when it returns. Raises `OSError`; then the old list is there, or the new one."""
        temporary = f"{self.path}.new"
        with contextlib.suppress(FileNotFoundError):
            self._files.unlink(temporary)
        self._files.replace(str(self.path), temporary, encode(accounts))


def encode(accounts: Mapping[str, Account]) -> bytes:
    """The whole file."""
    lines = ",\n".join(
        json.dumps([address, told_at, [[hour, *amount] for hour, amount in hours.items()], "".join(digests)])
        for address, (told_at, hours, digests) in accounts.items()
    )
    return f'{{"version": {CAPS_VERSION},\n"accounts": [\n{lines}\n]}}\n'.encode("ascii")


def _account(item: object) -> tuple[str, Account]:
    match item:
        case [str(address), float(told_at), list(hours), str(digests)] if _DIGESTS.fullmatch(digests):
            parts = tuple(digests[at : at + _DIGITS] for at in range(0, len(digests), _DIGITS))
            return address, (told_at, dict(map(_hour, hours)), parts)
        case _:
            raise Damaged("an account is not as it should be")


def _hour(item: object) -> tuple[int, tuple[int, int, int]]:
    match item:
        case [int(hour), int(messages), int(recipients), int(new)] if min(messages, recipients, new) >= 0:
            return hour, (messages, recipients, new)
        case _:
            raise Damaged("an hour is not as it should be")
