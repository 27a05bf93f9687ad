"""How the way to one host must be protected, and why: the one place that decides. Pure, no look-ups.

`requirement_for` turns what was found out (`Known`) and what the message asks for (`Wish`) into a `Requirement`. What
comes first counts:

    message says       route       DANE           MTA-STS                 becomes
    -                  smarthost   -              -                       as configured
    TLS-Required: No   other       -              -                       opportunistic
    -                  fixed       -              -                       opportunistic
    -                  MX          cannot tell    -                       refuse (RFC 7672 2.1.2)
    -                  MX          usable         -                       DANE (RFC 7672 3)
    -                  MX          -              enforce, not covered    refuse (RFC 8461 5)
    -                  MX          -              enforce, covered        PKIX
    -                  MX          unusable only  -                       encrypted (RFC 7672 2.2)
    -                  MX          -              testing                 opportunistic, with a trial of PKIX
    -                  MX          -              -                       opportunistic; encrypted if the host did TLS
                                                                          before and `remembered_tls = "require"`

A message with REQUIRETLS (RFC 8689 4.2.1) raises what is less than PKIX to PKIX, and is refused where nothing vouches
for the host's name. A refusal is about this host and this moment: such mail waits, it never bounces for it.
"""

from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path

from mailserver.mail.dns import TlsaRecord
from mailserver.mail.mta_sts import NoStsPolicy, StsAnswer, StsMode, StsPolicy
from mailserver.mail.route import FixedRoute, MxRoute, Route, SmarthostRoute, SmarthostTls
from mailserver.policy.mta_sts import covers
from mailserver.ports import PeerTls, TlsRequirement, TlsUse


class Protection(Enum):
    """What a conversation has to be, from the least to the most."""

    NONE = "none"
    OPPORTUNISTIC = "opportunistic"
    ENCRYPTED = "encrypted"
    PKIX = "pkix"
    DANE = "dane"
    REFUSE = "refuse"


class Wish(Enum):
    """What the message says about its way (RFC 8689)."""

    USUAL = "usual"
    REQUIRE_TLS = "requiretls"
    TLS_IS_OPTIONAL = "tls-optional"


@dataclass(frozen=True, slots=True)
class NoDane:
    """No TLSA record counts for this host; `reason` in plain words."""

    reason: str


@dataclass(frozen=True, slots=True)
class DaneUnknown:
    """DNS could not tell whether there are TLSA records."""

    reason: str


@dataclass(frozen=True, slots=True)
class DaneRecords:
    """Authentic TLSA records, usable or not, found at `_25._tcp.<base>`."""

    records: tuple[TlsaRecord, ...]
    base: str


DaneAnswer = NoDane | DaneUnknown | DaneRecords

_DANE_UNASKED = NoDane("not looked for")
_STS_UNASKED = NoStsPolicy("not looked for")


@dataclass(frozen=True, slots=True)
class Known:
    """What was found out about a host. `is_name_authentic`: DNSSEC vouches that it is a mail host of the domain.

    `insists` is `[relay] remembered_tls = "require"`; `ca_file` a lab's own authorities.
    """

    dane: DaneAnswer = _DANE_UNASKED
    sts: StsAnswer = _STS_UNASKED
    remembered: PeerTls | None = None
    is_name_authentic: bool = False
    insists: bool = False
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Requirement:
    """`use` and `handshake` are for the conversation, `reasons` for people, in order. `trouble`: a refusal's reason,
    or what a trial (MTA-STS in testing) found wrong before anything was said."""

    protection: Protection
    use: TlsUse
    handshake: TlsRequirement
    reasons: tuple[str, ...] = field(default=())
    trouble: str = ""

    @property
    def is_authenticated(self) -> bool:
        """Whether the host has to prove who it is."""
        return self.protection in (Protection.PKIX, Protection.DANE)

    @property
    def is_more_than_usual(self) -> bool:
        """Whether a message may have reason to ask for less (`TLS-Required: No`)."""
        return self.protection in (Protection.ENCRYPTED, Protection.PKIX, Protection.DANE, Protection.REFUSE)


_SMARTHOST_USE = {
    SmarthostTls.STARTTLS: TlsUse.REQUIRED,
    SmarthostTls.TLS: TlsUse.IMPLICIT,
    SmarthostTls.NONE: TlsUse.NEVER,
}
_DIGEST_OCTETS = {1: 32, 2: 64}


def is_usable(record: TlsaRecord) -> bool:
    """DANE-TA and DANE-EE with a selector and a matching type that are known (RFC 7672 3.1).

    PKIX-TA and PKIX-EE are not for SMTP (RFC 7672 3.1.3).
    """
    length = _DIGEST_OCTETS.get(record.matching, len(record.association))
    is_known = record.usage in (2, 3) and record.selector in (0, 1) and record.matching in (0, 1, 2)
    return is_known and len(record.association) == length > 0


def requirement_for(route: Route, host: str, known: Known, wish: Wish = Wish.USUAL) -> Requirement:
    """How to protect a conversation with `host` (a host name of this route; empty for an address without one)."""
    if isinstance(route, SmarthostRoute):
        return _smarthost(route, host, wish)
    if wish is Wish.TLS_IS_OPTIONAL:
        return _opportunistic(host, "the message says TLS-Required: No")
    if isinstance(route, FixedRoute):
        usual = _opportunistic(host, "a fixed route of relay.routes")
        # The operator wrote the name down, so it needs nobody else to vouch for it.
        return usual if wish is Wish.USUAL or not host else _pkix(host, known, "the message asks for REQUIRETLS")
    found = _published(route, host, known)
    if wish is Wish.USUAL or found.protection is Protection.REFUSE or found.is_authenticated:
        return found
    return _raised(route, host, known, found)


def _smarthost(route: SmarthostRoute, host: str, wish: Wish) -> Requirement:
    """As configured, chain and name verified."""
    use = _SMARTHOST_USE[route.tls]
    reasons = (f'the smarthost, with smarthost_tls = "{route.tls.value}"',)
    if route.tls is not SmarthostTls.NONE:
        return Requirement(Protection.PKIX, use, TlsRequirement(host, route.host, route.ca_file), reasons)
    if wish is Wish.REQUIRE_TLS:
        return _refuse(host, reasons, "the message asks for REQUIRETLS, and the way to the smarthost is without TLS")
    return Requirement(Protection.NONE, use, TlsRequirement(host), reasons)


def _published(route: MxRoute, host: str, known: Known) -> Requirement:
    """What the domain says of its hosts, and what the host did before."""
    dane, sts = known.dane, known.sts
    reasons: tuple[str, ...]
    match dane:
        case DaneUnknown(reason):
            trouble = f"DNS could not tell whether DANE protects the host: {reason}"
            return _refuse(host, (f"DANE: {reason}",), trouble)
        case DaneRecords(records, base):
            usable = tuple(record for record in records if is_usable(record))
            if usable:
                return _dane(route, host, usable, base)
            reasons = (f"DANE: the TLSA records at {base} are of kinds that SMTP does not use",)
        case NoDane(reason):
            reasons = (f"DANE: {reason}",)
    if isinstance(sts, NoStsPolicy):
        reasons += (f"MTA-STS: {sts.reason}",)
    else:
        mode = sts.mode.value
        reasons += (f'MTA-STS: the policy says "{mode}" for {", ".join(sts.hosts) or "no host"}',)
        if sts.mode is StsMode.ENFORCE:
            if not host or not covers(sts, host):
                name = host or "an address without a name"
                return _refuse(host, reasons, f"the MTA-STS policy of {route.domain} does not name {name}")
            return _pkix(host, known, *reasons)
    least = _least(host, known, reasons, must_encrypt=isinstance(dane, DaneRecords))
    return _with_trial(least, route, host, known)


def _dane(route: MxRoute, host: str, usable: tuple[TlsaRecord, ...], base: str) -> Requirement:
    """RFC 7672 3.2.2, 8.1: the names a certificate may be for, and the one that is asked for."""
    names = tuple(dict.fromkeys((base, host, route.domain)))
    count = f"{len(usable)} usable TLSA record" + ("s" if len(usable) > 1 else "")
    reasons = (f"DANE: {count} at {base}, vouched for by DNSSEC",)
    return Requirement(Protection.DANE, TlsUse.REQUIRED, TlsRequirement(base, tlsa=usable, names=names), reasons)


def _least(host: str, known: Known, reasons: tuple[str, ...], *, must_encrypt: bool) -> Requirement:
    """Nobody to be proven; encrypted only where there is a reason to insist."""
    version = "" if known.remembered is None else known.remembered.version
    if version and known.insists:
        reasons += (f"it did {version} before, and relay.remembered_tls says to insist",)
    elif version:
        reasons += (f"it did {version} before; going without would be told",)
    if must_encrypt or (version and known.insists):
        return Requirement(Protection.ENCRYPTED, TlsUse.REQUIRED, TlsRequirement(host), reasons)
    return replace(_opportunistic(host), reasons=reasons)


def _with_trial(least: Requirement, route: MxRoute, host: str, known: Known) -> Requirement:
    """MTA-STS in testing: nothing more is required, and what would be wrong is told."""
    sts = known.sts
    if not isinstance(sts, StsPolicy) or sts.mode is not StsMode.TESTING:
        return least
    if not host or not covers(sts, host):
        return replace(least, trouble=f"the MTA-STS policy of {route.domain} does not name {host or 'it'}")
    return replace(least, handshake=TlsRequirement(host, host, known.ca_file, is_trial=True))


def _raised(route: MxRoute, host: str, known: Known, found: Requirement) -> Requirement:
    """REQUIRETLS: DNSSEC or a policy must vouch for the name, and the host must prove it (RFC 8689 4.2.1)."""
    sts = known.sts
    is_covered = isinstance(sts, StsPolicy) and sts.mode is not StsMode.NONE and covers(sts, host)
    if host and (known.is_name_authentic or is_covered):
        return _pkix(host, known, *found.reasons, "the message asks for REQUIRETLS")
    trouble = f"the message asks for REQUIRETLS, and neither DNSSEC nor MTA-STS vouches for the hosts of {route.domain}"
    return _refuse(host, found.reasons, trouble)


def _opportunistic(host: str, *reasons: str) -> Requirement:
    """Encrypt when they offer it and verify nothing (RFC 7435)."""
    return Requirement(Protection.OPPORTUNISTIC, TlsUse.OPPORTUNISTIC, TlsRequirement(host), reasons)


def _pkix(host: str, known: Known, *reasons: str) -> Requirement:
    """A chain to an authority we trust, for this name."""
    return Requirement(Protection.PKIX, TlsUse.REQUIRED, TlsRequirement(host, host, known.ca_file), reasons)


def _refuse(host: str, reasons: tuple[str, ...], trouble: str) -> Requirement:
    return Requirement(Protection.REFUSE, TlsUse.REQUIRED, TlsRequirement(host), reasons, trouble)
