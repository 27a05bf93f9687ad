"""The MTA-STS policies that were fetched, on disk (RFC 8461 3.3 wants them to outlast a restart).

`<state>/mta-sts.json`, one JSON object, a domain a line:

    {"version": 1,
    "policies": [
    ["example.net", "20240101", 1750000000.0, "enforce", 604800, ["mx.example.net", "*.example.net"]]
    ]}

The domain, the `id` of its record, when the policy was fetched, mode, max_age, hosts. A newer version is `NewerFormat`
and left alone. Losing the file costs a fetch for each domain.

What a crash can leave: `mta-sts.json.new`, which the next save removes first; or an older list. Blocking.
"""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mailserver.mail.mta_sts import StsMode, StsPolicy
from mailserver.store.files import Files
from mailserver.store.spool_json import Damaged, read_list

STS_POLICIES_VERSION = 1
_MAX_OCTETS = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class FetchedPolicy:
    """`record_id` is the one that was published when it was fetched; `fetched_at` seconds since the epoch."""

    policy: StsPolicy
    record_id: str
    fetched_at: float

    def is_valid(self, now: float) -> bool:
        """Whether it may still be followed. A clock that was set back makes nothing last longer than it may."""
        return abs(now - self.fetched_at) < self.policy.max_age_s


class StsPolicyFile:
    """The file. Every method blocks; the caller holds the state lock for all but `read`."""

    def __init__(self, state: Path, files: Files) -> None:
        self.path = state / "mta-sts.json"
        self._files = files

    def read(self) -> dict[str, FetchedPolicy]:
        """What is there, nothing for no file. Raises `OSError`, `Damaged` or `NewerFormat`."""
        try:
            octets = self.path.read_bytes()
        except FileNotFoundError:
            return {}
        return decode(octets)

    def write(self, policies: Mapping[str, FetchedPolicy]) -> None:
        """Durable when it returns. Raises `OSError`; then the old list is there, or the new one."""
        temporary = f"{self.path}.new"
        with contextlib.suppress(FileNotFoundError):
            self._files.unlink(temporary)
        self._files.replace(str(self.path), temporary, encode(policies))


def encode(policies: Mapping[str, FetchedPolicy]) -> bytes:
    """The whole file."""
    lines = ",\n".join(
        json.dumps(
            [
                domain,
                one.record_id,
                one.fetched_at,
                one.policy.mode.value,
                one.policy.max_age_s,
                list(one.policy.hosts),
            ]
        )
        for domain, one in policies.items()
    )
    return f'{{"version": {STS_POLICIES_VERSION},\n"policies": [\n{lines}\n]}}\n'.encode("ascii")


def decode(octets: bytes) -> dict[str, FetchedPolicy]:
    """What a file says. Raises `Damaged` or `NewerFormat`."""
    return dict(map(_policy, read_list(octets, "policies", STS_POLICIES_VERSION, _MAX_OCTETS)))


def _policy(item: object) -> tuple[str, FetchedPolicy]:
    match item:
        case [str(domain), str(record_id), float(fetched), str(mode), int(max_age), list(hosts)] if mode in {
            one.value for one in StsMode
        } and all(isinstance(host, str) for host in hosts):
            return domain, FetchedPolicy(StsPolicy(StsMode(mode), tuple(hosts), max_age), record_id, fetched)
        case _:
            raise Damaged("a policy is not as it should be")
