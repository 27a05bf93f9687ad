"""How each session to a domain's mail hosts fared under the policy that it publishes (RFC 8460 4.3). Pure.

One `TlsSession` for each connection over which TLS was to be spoken, or that was refused for want of it. What is no
matter of TLS (no connection, no greeting) is none, and nor is the second try in clear after a handshake that failed.
"""

from collections.abc import Callable
from dataclasses import dataclass

from mailserver.mail.mta_sts import NoStsPolicy, StsAnswer, StsMode, StsPolicy
from mailserver.mail.outcome import Stage
from mailserver.mail.route import MxRoute, Route
from mailserver.policy.transport import DaneAnswer, DaneRecords, DaneUnknown, Requirement
from mailserver.policy.transport import Protection as Level
from mailserver.ports import NotOpened, Opened, TlsUse
from mailserver.relay.mx import Target

_MAX_TEXTS, _MAX_TEXT_CHARS = 30, 250
_NOT_FETCHED = "could not be fetched"


@dataclass(frozen=True, slots=True)
class TlsSession:
    """One session to `host` for mail to `domain`. `result` is a word of RFC 8460 4.3, empty for success.

    `kind` is `sts`, `tlsa` or `no-policy-found`, `texts` the policy as published, `hosts` the names it is for.
    """

    domain: str
    kind: str
    host: str
    address: str = ""
    result: str = ""
    reason: str = ""
    texts: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()


TellTls = Callable[[TlsSession], None]


def session_of(
    route: Route,
    target: Target,
    required: Requirement,
    dane: DaneAnswer,
    sts: StsAnswer,
    use: TlsUse,
    opened: Opened | NotOpened | None,
) -> TlsSession | None:
    """For one host of a plan; `opened` None: it was refused without asking it. None where there is nothing to count."""
    if not isinstance(route, MxRoute) or use is TlsUse.NEVER:
        return None
    kind, texts, hosts = _policy(target.host, required, dane, sts)
    found = _failure(required, dane, sts, opened)
    if found is None:
        return None
    address = "" if target.address is None else str(target.address)
    return TlsSession(route.domain, kind, target.host, address, *found, texts, hosts)


def _policy(
    host: str, required: Requirement, dane: DaneAnswer, sts: StsAnswer
) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """The policy that was applied (RFC 8460 4.4)."""
    if isinstance(dane, DaneUnknown):
        return "tlsa", (), (host,)
    if required.protection is Level.DANE and isinstance(dane, DaneRecords):
        return "tlsa", _records(dane), (host,)
    if isinstance(sts, StsPolicy) and sts.mode is not StsMode.NONE:
        texts = ("version: STSv1", f"mode: {sts.mode.value}", *(f"mx: {one}" for one in sts.hosts[:_MAX_TEXTS]))
        return "sts", (*texts, f"max_age: {sts.max_age_s}"), sts.hosts[:_MAX_TEXTS]
    if _is_not_fetched(sts):
        return "sts", (), ()
    if isinstance(dane, DaneRecords):
        return "tlsa", _records(dane), (host,)
    return "no-policy-found", (), ()


def _records(dane: DaneRecords) -> tuple[str, ...]:
    """As in a zone; a whole certificate is cut."""
    return tuple(
        f"{one.usage} {one.selector} {one.matching} {one.association.hex()}"[:_MAX_TEXT_CHARS]
        for one in dane.records[:_MAX_TEXTS]
    )


def _failure(
    required: Requirement, dane: DaneAnswer, sts: StsAnswer, opened: Opened | NotOpened | None
) -> tuple[str, str] | None:
    """Result type and reason; empty for a success, None for what is no matter of TLS."""
    if isinstance(opened, NotOpened):
        return None if opened.stage is not Stage.STARTTLS else (result_type(opened.reason), opened.reason)
    if opened is None:
        return ("dnssec-invalid" if isinstance(dane, DaneUnknown) else "validation-failure"), required.trouble
    if opened.tls is None:
        return "starttls-not-supported", "the host did no TLS"
    trouble = required.trouble or opened.tls.unproven
    if trouble:
        return result_type(trouble), trouble
    if _is_not_fetched(sts) and required.protection is not Level.DANE:
        return "sts-policy-fetch-error", "the policy could not be fetched"
    return "", ""


def _is_not_fetched(sts: StsAnswer) -> bool:
    return isinstance(sts, NoStsPolicy) and _NOT_FETCHED in sts.reason


_TYPES = (
    ("starttls-not-supported", ("offers no STARTTLS", "did not start TLS", "did no TLS")),
    ("certificate-expired", ("expired",)),
    ("certificate-host-mismatch", ("is not for", "another name", "hostname mismatch")),
    ("validation-failure", ("TLSA", "policy of")),
    (
        "certificate-not-trusted",
        ("self-signed", "self signed", "issuer certificate", "verify failed", "not trusted", "local issuer"),
    ),
)


def result_type(reason: str) -> str:
    """The word of RFC 8460 4.3 for a reason in ours; `validation-failure` is for all that has none."""
    return next((word for word, signs in _TYPES if any(sign in reason for sign in signs)), "validation-failure")
