"""Who could not deliver to a domain with TLS, and why: what reporters told, summed up, in words. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from mailserver.mail.reports import KeptTls
from mailserver.policy.reports.proof import shown

# RFC 8460 4.3: what each result means for whose mail hosts it is about, and what to do.
_MEANINGS = {
    "starttls-not-supported": (
        "your server did not offer STARTTLS, or somebody on the way took the offer out",
        "mailserver doctor shows whether the certificate is in order",
    ),
    "certificate-host-mismatch": (
        "the certificate is not for the name in the MX record",
        "the certificate has to hold the names of all MX hosts",
    ),
    "certificate-expired": ("the certificate had expired", "renew it; mailserver doctor shows until when it is good"),
    "certificate-not-trusted": (
        "the certificate is of an authority that others do not trust, or its chain is not whole",
        "take one of a public authority ([acme]), and serve the whole chain",
    ),
    "validation-failure": ("the certificate could not be verified", "compare it with the TLSA records and the policy"),
    "tlsa-invalid": (
        "the TLSA records do not fit the certificate, or cannot be used",
        "publish those that mailserver dns shows",
    ),
    "dnssec-invalid": ("DNSSEC of your zone did not validate", "ask who runs your DNS; mailserver dns --check"),
    "dane-required": ("they insist on DANE, and there is none", "publish TLSA records, if your zone is signed"),
    "sts-policy-fetch-error": (
        "the MTA-STS policy could not be fetched",
        "https://mta-sts.DOMAIN/.well-known/mta-sts.txt must answer; docs/web.md",
    ),
    "sts-policy-invalid": ("the MTA-STS policy cannot be read", "see mailserver dns --check and docs/web.md"),
    "sts-webpki-invalid": (
        "the certificate of the MTA-STS policy host is not in order",
        "it has to be for mta-sts.DOMAIN; docs/certificates.md",
    ),
}


@dataclass(slots=True)
class Trouble:
    """Sessions that failed alike; `hosts` are ours that they went to, `said` is what reporters added."""

    result: str
    sessions: int = 0
    hosts: dict[str, None] = field(default_factory=dict)
    reporters: dict[str, bool] = field(default_factory=dict)
    said: dict[str, None] = field(default_factory=dict)

    @property
    def meaning(self) -> str:
        """In plain words."""
        return _MEANINGS.get(self.result, (self.result, ""))[0]

    @property
    def remedy(self) -> str:
        """What to do; empty when nothing is known."""
        return _MEANINGS.get(self.result, ("", ""))[1]


@dataclass(slots=True)
class TlsSummary:
    """One domain; `kinds` are the policies that reporters saw, `reporters` say whether somebody vouches for them."""

    domain: str
    successes: int = 0
    failures: int = 0
    kinds: dict[str, None] = field(default_factory=dict)
    reporters: dict[str, bool] = field(default_factory=dict)
    troubles: list[Trouble] = field(default_factory=list)

    @property
    def sentence(self) -> str:
        """All of it in one."""
        total = self.successes + self.failures
        if not total:
            return f"{self.domain}: nobody tells of any session"
        if not self.failures:
            return f"{self.domain}: all {total:,} sessions that were told of had TLS as it should be"
        return f"{self.domain}: {self.failures:,} of {total:,} sessions that were told of had trouble with TLS"


_MOST = 5


def tls_summaries(rows: Iterable[KeptTls]) -> list[TlsSummary]:
    """Each domain by name, its worst trouble first."""
    found: dict[str, TlsSummary] = {}
    troubles: dict[tuple[str, str], Trouble] = {}
    for row in rows:
        summary = found.setdefault(row.domain, TlsSummary(row.domain))
        summary.kinds[row.kind] = None
        name = shown(row.reporter, row.proven)
        summary.reporters[name] = summary.reporters.get(name, False) or bool(row.proven)
        if not row.result:
            summary.successes += row.successes
            summary.failures += row.failures
            continue
        trouble = troubles.get((row.domain, row.result))
        if trouble is None:
            trouble = troubles[row.domain, row.result] = Trouble(row.result)
            summary.troubles.append(trouble)
        trouble.sessions += row.count
        trouble.reporters[name] = trouble.reporters.get(name, False) or bool(row.proven)
        for names, one in ((trouble.hosts, row.host), (trouble.said, row.reason)):
            if one and len(names) < _MOST:
                names[one] = None
    for summary in found.values():
        summary.troubles.sort(key=lambda one: (-one.sessions, one.result))
    return [found[domain] for domain in sorted(found)]
