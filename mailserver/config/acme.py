"""The table `[acme]`: certificates that the server obtains and renews by itself (RFC 8555), and the rules about it."""

import re
from collections.abc import Collection, Iterator
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from attrs import frozen

from mailserver.config import values
from mailserver.config.fault import Wrong, shown
from mailserver.config.own_mta_sts import OwnStsMode
from mailserver.config.values import Rule, choice, duration, list_of, text
from mailserver.mail.address import canonical_domain, parse_mailbox
from mailserver.mail.certificate import covers
from mailserver.mail.fault import SyntaxFault

if TYPE_CHECKING:
    from mailserver.config.schema import Config

SHORT_NAMES = {
    "letsencrypt": "https://acme-v02.api.letsencrypt.org/directory",
    "letsencrypt-staging": "https://acme-staging-v02.api.letsencrypt.org/directory",
}


class AcmeChallenge(Enum):
    """How the authority sees that a name is ours."""

    HTTP_01 = "http-01"  # it fetches a text from port 80 of the name (RFC 8555 8.3)
    DNS_01 = "dns-01"  # it looks for a TXT record below the name (RFC 8555 8.4)


class KeyType(Enum):
    """The kind of key a certificate is for."""

    P256 = "p256"
    RSA2048 = "rsa2048"


def _directory(value: object, base: Path) -> str:
    del base
    written = text(value)
    if written == "" or written in SHORT_NAMES:
        return SHORT_NAMES.get(written, "")
    if re.fullmatch(r"https://[!-~]+", written, re.ASCII) is None:
        raise Wrong(
            'must be "letsencrypt", the https:// address of another authority\'s ACME directory, or "" for none'
        )
    return written


def _contact(value: object, base: Path) -> str:
    del base
    written = text(value)
    mailbox = parse_mailbox(written) if written else None
    if isinstance(mailbox, SyntaxFault) or (mailbox is not None and not mailbox.domain):
        raise Wrong('must be an address such as "alice@example.org", or empty')
    return written


def _name(value: object, base: Path) -> str:
    del base
    written = text(value)
    host = written.removeprefix("*.")
    domain = canonical_domain(host)
    if domain is None or domain.startswith("[") or re.fullmatch(r"[0-9.]+", domain, re.ASCII):
        raise Wrong('must be a host name such as "mail.example.org" or "*.example.org"')
    return written[: len(written) - len(host)] + domain


@frozen
class Acme:
    """Off as long as `directory` is empty. `directory` is an https address in a loaded configuration."""

    directory: Annotated[str, Rule(_directory)] = ""
    contact: Annotated[str, Rule(_contact)] = ""
    agree_terms: Annotated[bool, values.boolean] = False
    challenge: Annotated[AcmeChallenge, choice(AcmeChallenge)] = AcmeChallenge.HTTP_01
    webroot: Annotated[Path | None, values.optional_path] = None
    dns_hook: Annotated[Path | None, values.optional_path] = None
    propagation_wait: Annotated[float, duration(may_be_never=True)] = 30.0  # 0: none
    names: Annotated[tuple[str, ...], list_of(Rule(_name), "host names", '["mail.example.org"]')] = ()
    renew_before: Annotated[float, duration()] = 30 * 86400.0
    reuse_key: Annotated[bool, values.boolean] = True
    key_type: Annotated[KeyType, choice(KeyType)] = KeyType.P256
    profile: Annotated[str, values.plain_text] = ""
    eab_key_id: Annotated[str, values.plain_text] = ""
    eab_key_file: Annotated[Path | None, values.optional_path] = None
    ca_file: Annotated[Path | None, values.optional_path] = None

    @property
    def is_on(self) -> bool:
        """Whether certificates are obtained at all."""
        return bool(self.directory)


def broken_acme_rules(config: "Config") -> Iterator[str]:
    """Every rule between the keys of `[acme]` and others that is broken."""
    acme = config.acme
    if bool(acme.eab_key_id) is not bool(acme.eab_key_file):
        yield "acme.eab_key_file: must be set together with acme.eab_key_id; the authority gave you both"
    if not acme.is_on:
        return
    if not acme.agree_terms:
        yield (
            "acme.agree_terms: false: must be true: an authority gives certificates only to who has agreed to its "
            f"terms of service, and only you can agree; {acme.directory} names them"
        )
    if config.tls.certificate or config.tls.private_key:
        path = config.tls.certificate or config.tls.private_key
        yield (
            f"tls.certificate: {shown(str(path))}: must be empty with acme.directory, which brings a certificate of "
            "its own; leave one of the two out"
        )
    if acme.challenge is AcmeChallenge.HTTP_01 and not config.listen.http and acme.webroot is None:
        yield (
            'acme.challenge: "http-01": needs a way to answer on port 80: set listen.http = ["tcp:80"], or '
            'acme.webroot to the folder of a web server that has that port, or take "dns-01" with acme.dns_hook'
        )
    if acme.challenge is AcmeChallenge.DNS_01 and acme.dns_hook is None:
        yield (
            'acme.dns_hook: "": must name the command that puts TXT records into your DNS, with acme.challenge = '
            '"dns-01"'
        )
    for index, name in enumerate(acme.names):
        if name.startswith("*.") and acme.challenge is AcmeChallenge.HTTP_01:
            yield f'acme.names[{index}]: {shown(name)}: a wildcard needs acme.challenge = "dns-01" (RFC 8555 7.1.3)'


def unwise_acme(config: "Config") -> Iterator[str]:
    """What works and is probably not meant."""
    acme = config.acme
    if not acme.is_on:
        return
    if acme.names and not any(covers(name, config.hostname) for name in acme.names):
        yield f"acme.names: {shown(list(acme.names))}: does not hold hostname ({config.hostname}), which clients check"
    if acme.challenge is AcmeChallenge.DNS_01 and acme.webroot is not None:
        yield f'acme.webroot: {shown(str(acme.webroot))}: with acme.challenge = "dns-01" this has no effect'
    if acme.challenge is AcmeChallenge.HTTP_01 and acme.dns_hook is not None:
        yield f'acme.dns_hook: {shown(str(acme.dns_hook))}: with acme.challenge = "http-01" this has no effect'


def unwise_acme_port(config: "Config", ports: Collection[int | None]) -> Iterator[str]:
    """`ports` are those of listen.http; None for one that is not known here."""
    acme = config.acme
    if not acme.is_on or acme.challenge is not AcmeChallenge.HTTP_01 or acme.webroot is not None:
        return
    if ports and not {80, None} & set(ports):
        yield (
            f"listen.http: {shown(list(config.listen.http))}: the authority always asks at port 80; this is right only "
            "when something forwards that port here"
        )


def wanted_names(config: "Config") -> tuple[str, ...]:
    """The names a certificate is to hold, hostname first: those configured, or what this server answers for."""
    if config.acme.names:
        return config.acme.names
    return usual_names(
        config.hostname,
        config.domains,
        serves_policies=_serves_policies(config),
        serves_autoconfig=bool(config.listen.https),
    )


def needed_names(config: "Config") -> tuple[str, ...]:
    """Those of the wanted names without which there is no certificate: all that are configured, else the host name."""
    return config.acme.names or (config.hostname,)


def _serves_policies(config: "Config") -> bool:
    """Whether MTA-STS policies are served here ([mta_sts] mode); taking one back needs a certificate, too."""
    return config.mta_sts.mode is not OwnStsMode.OFF and bool(config.listen.https)


def usual_names(
    hostname: str, domains: tuple[str, ...], *, serves_policies: bool, serves_autoconfig: bool
) -> tuple[str, ...]:
    """The host name, and those under which clients look for each domain's MTA-STS policy and settings."""
    names = [hostname]
    if serves_policies:
        names += [f"mta-sts.{domain}" for domain in domains]
    if serves_autoconfig:
        names += [f"autoconfig.{domain}" for domain in domains]
    return tuple(dict.fromkeys(names))
