"""What is counted for our own reports: to a short JSON text and back, and from such texts to a report. Pure.

Texts that are alike count together, so they hold nothing that differs from message to message without need.
"""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from mailserver.mail.reports import (
    DAY_S,
    DmarcReport,
    DmarcRow,
    PublishedPolicy,
    SignatureSeen,
    TlsFailure,
    TlsPolicyResult,
    TlsReport,
)
from mailserver.policy.reports import words

DMARC, TLS = "dmarc", "tls"


@dataclass(frozen=True, slots=True)
class Period:
    """One day of one domain: who reports, to whom to write about it, and which day since the epoch."""

    reporter: str
    contact: str
    hostname: str
    domain: str
    day: int

    @property
    def begin(self) -> int:
        """The first second of the day (UTC)."""
        return self.day * DAY_S

    @property
    def end(self) -> int:
        """Its last second."""
        return self.begin + DAY_S - 1

    def report_id(self, kind: str) -> str:
        """The same for the same day and domain, so that one that is sent twice counts once."""
        return f"{kind}.{self.begin}.{self.domain}@{self.hostname}"


@dataclass(frozen=True, slots=True)
class CountedMessage:
    """As `DmarcRow`, with the policy that was in force."""

    source: str
    disposition: str
    dkim: bool
    spf: bool
    header_from: str
    envelope_from: str
    signatures: tuple[SignatureSeen, ...]
    spf_domain: str
    spf_result: str
    reasons: tuple[str, ...]
    policy: PublishedPolicy


@dataclass(frozen=True, slots=True)
class CountedSession:
    """As `relay.tls_results.TlsSession`, without the domain."""

    kind: str
    texts: tuple[str, ...]
    hosts: tuple[str, ...]
    host: str
    address: str
    result: str
    reason: str


_encode = json.JSONEncoder(separators=(",", ":")).encode


def message_text(one: CountedMessage) -> str:
    """For `dmarc_report`."""
    signatures = [[sign.domain, words.text(sign.selector), sign.result] for sign in one.signatures]
    policy = one.policy
    return _encode(
        [
            [one.source, one.disposition, one.dkim, one.spf, one.header_from, one.envelope_from],
            [signatures, one.spf_domain, one.spf_result, list(one.reasons)],
            [
                *(policy.policy, policy.subdomains, policy.nonexistent),
                *(policy.dkim, policy.spf, policy.is_testing, policy.failure_options),
            ],
        ]
    )


def dmarc_report(period: Period, counted: Iterable[tuple[str, int]]) -> DmarcReport | None:
    """The report about a domain's messages of a day; None when nothing that was counted can be read.

    The policy that most messages met is told (RFC 9990 3.1 wants one).
    """
    rows: list[DmarcRow] = []
    policies: Counter[PublishedPolicy] = Counter()
    for text, count in counted:
        try:
            (first, results, published) = json.loads(text)
            signatures, spf_domain, spf_result, reasons = results
            seen = tuple(SignatureSeen(*sign) for sign in signatures)
            source, disposition, dkim, spf, header_from, envelope_from = first
            row = DmarcRow(
                source, count, disposition, dkim, spf, header_from, envelope_from, seen, spf_domain, spf_result,
                tuple(reasons),
            )  # fmt: skip
            policies[PublishedPolicy(period.domain, *published)] += count
        except (ValueError, TypeError):  # another release's, or somebody's
            continue
        rows.append(row)
    if not rows:
        return None
    policy = policies.most_common(1)[0][0]
    report_id = period.report_id(DMARC)
    return DmarcReport(period.reporter, period.contact, report_id, period.begin, period.end, policy, tuple(rows))


def session_text(one: CountedSession) -> str:
    """For `tls_report`."""
    return _encode(
        [one.kind, list(one.texts), list(one.hosts), one.host, one.address, one.result, words.text(one.reason)]
    )


def tls_report(period: Period, counted: Iterable[tuple[str, int]]) -> TlsReport | None:
    """The report about the sessions of a day to a domain's mail hosts; None when nothing can be read."""
    successes: Counter[tuple[str, tuple[str, ...], tuple[str, ...]]] = Counter()
    failures: dict[tuple[str, tuple[str, ...], tuple[str, ...]], list[TlsFailure]] = {}
    for text, count in counted:
        try:
            kind, texts, hosts, host, address, result, reason = json.loads(text)
            policy = (kind, tuple(texts), tuple(hosts))
            successes[policy] += 0 if result else count
        except (ValueError, TypeError):
            continue
        failures.setdefault(policy, [])
        if result:
            failures[policy].append(TlsFailure(result, count, "", host, address, "", reason))
    if not failures:
        return None
    policies = tuple(
        TlsPolicyResult(
            kind,
            period.domain,
            successes[kind, texts, hosts],
            sum(one.count for one in details),
            tuple(details),
            texts,
            hosts,
        )
        for (kind, texts, hosts), details in failures.items()
    )
    return TlsReport(period.reporter, period.contact, period.report_id(TLS), period.begin, period.end, policies)
