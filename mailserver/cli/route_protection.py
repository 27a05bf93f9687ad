"""What the hosts of a domain are held to when mail goes there, for `mailserver route`.

A running server is asked, because it has the resolver, the policies and the settings in force; it asks DNS and, for a
policy it does not know yet, the domain's policy host. Without one only the policy that was last fetched can be shown.
"""

import json
import time
from dataclasses import dataclass

from mailserver.config import Config, MtaSts
from mailserver.store.control_socket import ControlFailed, ControlUnavailable, Request, ask
from mailserver.store.files import Files
from mailserver.store.spool_json import Damaged, NewerFormat
from mailserver.store.sts_policies import FetchedPolicy, StsPolicyFile

_TIMEOUT_S = 45.0
_WORDS = {
    "opportunistic": "TLS if it offers it, nothing is proven",
    "encrypted": "TLS is required, nothing is proven",
    "pkix": "TLS is required, with a certificate for its name from an authority that is trusted",
    "dane": "TLS is required, with a certificate that agrees with its TLSA records",
    "refuse": "nothing is sent to it now",
}


@dataclass(frozen=True, slots=True)
class HostProtection:
    """One host; `protection` is a word of `policy.transport.Protection`."""

    host: str
    protection: str
    reasons: tuple[str, ...]
    trouble: str


def held_to(config: Config, domain: str) -> tuple[HostProtection, ...] | None:
    """What a running server says of each host, in the order in which they are tried; None when there is no answer."""
    try:
        about = ask(config.storage.state, Request("relay-protection", domain=domain), _TIMEOUT_S).about
        return tuple(
            HostProtection(one["host"], one["protection"], tuple(one["reasons"]), one["trouble"])
            for one in json.loads(str(about["hosts"]))
        )
    except (ControlUnavailable, ControlFailed, ValueError, KeyError, TypeError):
        return None


def lines(config: Config, domain: str) -> list[str]:
    """For people."""
    hosts = held_to(config, domain)
    if hosts is None:
        return _remembered(config, domain)
    found = []
    for one in hosts:
        found.append(f"{one.host}: {_WORDS.get(one.protection, one.protection)}")
        found += [f"  {reason}" for reason in one.reasons]
        if one.trouble:
            found.append(f"  {one.trouble}")
    return found


def as_object(config: Config, domain: str) -> dict[str, object]:
    """For programs; null when no server answers."""
    hosts = held_to(config, domain)
    return {
        "protection": None
        if hosts is None
        else [
            {"host": one.host, "protection": one.protection, "reasons": list(one.reasons), "trouble": one.trouble}
            for one in hosts
        ]
    }


def _remembered(config: Config, domain: str) -> list[str]:
    if config.relay.mta_sts is MtaSts.OFF:
        return []
    known = _policy(config, domain)
    if known is None or not known.is_valid(time.time()):
        return []
    hosts = ", ".join(known.policy.hosts) or "no host"
    return [f'MTA-STS: the policy that was last fetched says "{known.policy.mode.value}" for {hosts}']


def _policy(config: Config, domain: str) -> FetchedPolicy | None:
    try:
        return StsPolicyFile(config.storage.state, Files()).read().get(domain)
    except (OSError, Damaged, NewerFormat):
        return None
