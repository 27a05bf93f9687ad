"""The facts of this server that the records to publish follow from: its configuration, its keys, its certificate.

`policy.records` makes the records of them. Nothing is asked of anybody here; the public addresses come from elsewhere
(`survey.own_addresses`).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from mailserver.config import AddressFamily, Config, PublishTlsa
from mailserver.config.own_mta_sts import own_policy
from mailserver.mail.dkim_key import DkimKey, KeyState
from mailserver.mail.dns import IpAddress
from mailserver.mail.fault import SyntaxFault
from mailserver.net.listener_text import check_listener
from mailserver.policy.own_mta_sts import policy_id, policy_text
from mailserver.policy.records.values import Service, Site
from mailserver.store.acme_folder import AcmeFolder
from mailserver.store.certificates import Unusable, read_summary
from mailserver.store.dkim_keys import DkimKeyFolder

# Services that mail programs look for, with their usual ports, which a proxy or systemd has before ours.
_PORTS = {"submissions": 465, "submission": 587, "pop3s": 995, "pop3": 110}
_IN_DNS = (KeyState.WAITING, KeyState.ACTIVE, KeyState.RETIRING)
# What the authorities want in CAA records (RFC 8659 4.2), by the host of their directory.
_CAA_ISSUERS = {
    "acme-v02.api.letsencrypt.org": "letsencrypt.org",
    "acme-staging-v02.api.letsencrypt.org": "letsencrypt.org",
    "api.buypass.com": "buypass.com",
    "acme.zerossl.com": "sectigo.com",
    "dv.acme-v02.api.pki.goog": "pki.goog",
    "acme.ssl.com": "ssl.com",
}


@dataclass(frozen=True, slots=True)
class OwnFacts:
    """The site, and what could not be read, a line each."""

    site: Site
    troubles: tuple[str, ...] = ()


def own_facts(config: Config, addresses: Iterable[IpAddress], now: float) -> OwnFacts:
    """Read what is needed from configuration and state. Blocks; raises nothing for what it cannot read.

    `addresses` are the public ones, IPv4 first.
    """
    addresses = tuple(addresses)
    keys, troubles = _keys(config, now)
    hashes, more = _hashes(config)
    policy = own_policy(config)
    sts_id = policy_id(policy_text(policy)) if policy is not None else ""
    relay = config.relay
    site = Site(
        hostname=config.hostname,
        domains=config.domains,
        addresses=addresses,
        sources=_sources(config, addresses),
        helo=relay.helo,
        smarthost=relay.smarthost.host if relay.smarthost is not None else "",
        sends_directly=relay.smarthost is None or bool(relay.smarthost_domains) or relay.smarthost_after > 0,
        spf_include=config.dns.spf_include,
        dkim=keys,
        sts_ids=dict.fromkeys(config.domains, sts_id) if sts_id else {},
        tlsa=hashes,
        services=tuple(_services(config)),
        reports_to=config.reports.dmarc_address,
        tls_reports_to=config.reports.tlsrpt_address,
        serves_policy=bool(config.listen.https),
        has_autoconfig=bool(config.listen.https),
        caa_issuer=_CAA_ISSUERS.get(urlsplit(config.acme.directory).hostname or "", "") if config.acme.is_on else "",
    )
    return OwnFacts(site, (*troubles, *more))


def _keys(config: Config, now: float) -> tuple[tuple[DkimKey, ...], tuple[str, ...]]:
    """The keys whose records have to be in DNS."""
    folder = DkimKeyFolder(config.storage.state)
    try:
        keys, troubles = folder.read()
    except OSError as error:
        return (), (f"the DKIM keys cannot be read: {error.strerror} ({error.filename})",)
    told = tuple(f"{one.path}: {one.reason}" for one in troubles)
    return tuple(key for key in keys if key.state(now) in _IN_DNS), told


def _sources(config: Config, addresses: tuple[IpAddress, ...]) -> tuple[IpAddress, ...]:
    """Where mail comes from: of each family that is used, the address that is configured if it is public."""
    relay = config.relay
    found: list[IpAddress] = []
    families: tuple[tuple[int, IpAddress | None, AddressFamily], ...] = (
        (4, relay.source_address, AddressFamily.IPV6),
        (6, relay.source_address6, AddressFamily.IPV4),
    )
    for version, chosen, other in families:
        if relay.address_family is other:
            continue
        if chosen is not None and chosen.is_global:
            found.append(chosen)
        else:
            found += [one for one in addresses if one.version == version]
    return tuple(found)


def _services(config: Config) -> Iterator[Service]:
    """What others can reach. The port that they see before a proxy or systemd is the usual one."""
    for name, usual in _PORTS.items():
        for text in getattr(config.listen, name):
            listener = check_listener(text)
            if isinstance(listener, SyntaxFault):
                continue
            is_hidden = listener.port is None and not listener.path
            if listener.is_proxied or is_hidden:
                yield Service(name, usual)
                break
            if listener.port and not listener.is_loopback:
                yield Service(name, listener.port)
                break


def _hashes(config: Config) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The hash of the public key in force, when the next certificate will be for the same key."""
    path = _certificate(config)
    if path is None:
        return (), ()
    try:
        return (read_summary(path).spki_sha256,), ()
    except FileNotFoundError:
        return (), ()  # made when the server first starts, or when the authority has given one
    except OSError as error:
        return (), (f"the certificate {path} cannot be read, so no TLSA record is shown: {error.strerror}",)
    except Unusable as fault:
        return (), (f"{path}: {fault}",)


def _certificate(config: Config) -> Path | None:
    """The file whose key a TLSA record may be for; None when none is to be published."""
    if config.dns.tlsa is PublishTlsa.OFF:
        return None
    is_forced = config.dns.tlsa is PublishTlsa.ON
    if config.tls.certificate is not None:
        return config.tls.certificate if is_forced else None
    if config.acme.is_on:
        return AcmeFolder(config.storage.state).certificate if config.acme.reuse_key or is_forced else None
    return config.storage.state / "tls" / "certificate.pem"
