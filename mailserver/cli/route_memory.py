"""What the server remembers of the hosts that mail went to: their TLS, and whether IPv6 serves us now.

Three places are asked, and none must be there: the journal for the hosts that DNS named last, the history of peers for
their TLS, and a running server for the rest, which it keeps in memory only. Nothing is sent.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from mailserver.cli.queue_text import moment, span
from mailserver.config import Config
from mailserver.mail.address import Mailbox
from mailserver.mail.route import AddressFamily
from mailserver.ports import PeerTls
from mailserver.store.control_socket import ControlFailed, ControlUnavailable, Request, ask
from mailserver.store.files import Files
from mailserver.store.journal_facts import way_key
from mailserver.store.journal_format import JournalDamaged, JournalUnavailable, journal_path
from mailserver.store.journal_read import JournalReader
from mailserver.store.spool_json import Damaged, NewerFormat
from mailserver.store.tls_history import TlsHistoryFile

_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Ipv4First:
    """IPv6 comes behind IPv4 for `for_s` seconds more, and why."""

    reason: str
    for_s: float


@dataclass(frozen=True, slots=True)
class Memory:
    """Of one destination: its hosts in the order in which they were last tried, each with its TLS if known."""

    hosts: tuple[tuple[str, PeerTls | None], ...] = ()
    ipv4_first: Ipv4First | None = None


def remembered(config: Config, mailbox: Mailbox) -> Memory:
    """What is known of the way to somebody else's domain; whatever cannot be read is left out."""
    hosts = _configured_hosts(config, mailbox) or _last_hosts(config, mailbox.domain)
    known = _history(config) if hosts else {}
    return Memory(tuple((host, known.get(host)) for host in hosts), _ipv4_first(config))


def lines(memory: Memory) -> list[str]:
    """For people."""
    found = []
    if memory.ipv4_first is not None:
        first = memory.ipv4_first
        found.append(f"IPv4 addresses are tried first for another {span(first.for_s)}, because {first.reason}")
    found += [f"{host}: {_tls(seen)}" for host, seen in memory.hosts if seen is not None]
    return found


def as_object(memory: Memory) -> dict[str, object]:
    """For programs; times are seconds since the epoch."""
    first = memory.ipv4_first
    return {
        "ipv4_first": None if first is None else {"reason": first.reason, "for_s": round(first.for_s)},
        "hosts": [
            {
                "host": host,
                "tls": None if seen is None else seen.version,
                "seen_at": None if seen is None else seen.seen_at,
                "without_tls_since": None if seen is None or not seen.clear_since else seen.clear_since,
            }
            for host, seen in memory.hosts
        ],
    }


def _tls(seen: PeerTls) -> str:
    if seen.clear_since:
        return f"without TLS since {moment(seen.clear_since)}, it did {seen.version} before"
    if seen.version:
        return f"did {seen.version} when that was last noted, at {moment(seen.seen_at)}"
    return f"has not done TLS so far, last noted at {moment(seen.seen_at)}"


def _configured_hosts(config: Config, mailbox: Mailbox) -> tuple[str, ...]:
    """The host that the configuration names; none where DNS is asked."""
    relay = config.relay
    fixed = relay.routes.get(mailbox.domain)
    if fixed is not None:
        return (fixed.host,)
    is_for_smarthost = not relay.smarthost_domains or mailbox.domain in relay.smarthost_domains
    if relay.smarthost is not None and is_for_smarthost and not relay.smarthost_after:
        return (relay.smarthost.host,)
    return ()


def _last_hosts(config: Config, domain: str) -> tuple[str, ...]:
    """The hosts that were to be tried when mail last went there."""
    try:
        with JournalReader(journal_path(config.storage.state)) as reader:
            entry = next(reader.mentioning(way_key(domain)), None)
    except (OSError, JournalUnavailable, JournalDamaged):
        return ()
    hosts = () if entry is None else entry.texts("hosts")
    return tuple(dict.fromkeys(host.partition("[")[0] or host for host in hosts))


def _history(config: Config) -> Mapping[str, PeerTls]:
    try:
        return TlsHistoryFile(config.storage.state, Files()).read()
    except (OSError, Damaged, NewerFormat):
        return {}


def _ipv4_first(config: Config) -> Ipv4First | None:
    if config.relay.address_family is not AddressFamily.AUTO:
        return None
    try:
        about = ask(config.storage.state, Request("relay-families"), _TIMEOUT_S).about
    except (ControlUnavailable, ControlFailed, ValueError):
        return None
    reason, for_s = about.get("reason"), about.get("ipv4_first_for_s")
    return Ipv4First(reason, float(for_s)) if isinstance(reason, str) and isinstance(for_s, int | float) else None
