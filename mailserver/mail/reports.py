"""Reports between servers, as values: DMARC aggregate reports (RFC 9990) and SMTP TLS reports (RFC 8460).

The same values are read from what others send, kept, and written out as our own. Domains are canonical, times seconds
since the epoch. Every text that a stranger wrote is printable and of bounded length.
"""

from dataclasses import dataclass

DAY_S = 86400


@dataclass(frozen=True, slots=True)
class SignatureSeen:
    """One DKIM signature of the messages in a row: `result` is a word of RFC 8601 2.7.1."""

    domain: str
    selector: str
    result: str


@dataclass(frozen=True, slots=True)
class DmarcRow:
    """Messages of one source that fared alike.

    `dkim` and `spf`: whether these passed in alignment with the domain in From. `disposition` is what became of the
    messages: `none`, `quarantine` or `reject`. `spf_domain` and `spf_result` are what SPF found, aligned or not.
    `reasons` tell why the disposition is not what the policy asks for, as `type` or `type: comment`.
    """

    source: str
    count: int
    disposition: str
    dkim: bool
    spf: bool
    header_from: str
    envelope_from: str = ""
    signatures: tuple[SignatureSeen, ...] = ()
    spf_domain: str = ""
    spf_result: str = ""
    reasons: tuple[str, ...] = ()

    @property
    def is_pass(self) -> bool:
        """Whether the messages passed DMARC."""
        return self.dkim or self.spf


@dataclass(frozen=True, slots=True)
class PublishedPolicy:
    """The policy that a reporter saw. Words as in the record; empty where it was not told."""

    domain: str
    policy: str = "none"
    subdomains: str = ""
    nonexistent: str = ""
    dkim: str = "r"
    spf: str = "r"
    is_testing: bool = False
    failure_options: str = ""


@dataclass(frozen=True, slots=True)
class DmarcReport:
    """One aggregate report. `skipped` counts rows that could not be read."""

    reporter: str
    contact: str
    report_id: str
    begin: int
    end: int
    policy: PublishedPolicy
    rows: tuple[DmarcRow, ...]
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class TlsFailure:
    """Sessions that failed alike (RFC 8460 4.4). `result` is a word of 4.3, such as `certificate-expired`."""

    result: str
    count: int
    sending_ip: str = ""
    host: str = ""
    host_ip: str = ""
    hello: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class TlsPolicyResult:
    """How sessions fared under one policy of a domain. `kind` is `sts`, `tlsa` or `no-policy-found`.

    `texts` is the policy as published, `hosts` the names it is for.
    """

    kind: str
    domain: str
    successes: int
    failures: int
    details: tuple[TlsFailure, ...] = ()
    texts: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TlsReport:
    """One report about TLS."""

    reporter: str
    contact: str
    report_id: str
    begin: int
    end: int
    policies: tuple[TlsPolicyResult, ...]


Report = DmarcReport | TlsReport


# --- as they are kept -------------------------------------------------------------------------------------------------

# Who vouches for a report that was read from a file: the operator.
IMPORTED = "import"


@dataclass(frozen=True, slots=True)
class KeptRow:
    """Messages of one source on one day, as one reporter told. `proven` is the domain that answers for the report,
    `IMPORTED`, or empty when nobody does. `day` counts days since the epoch."""

    domain: str
    day: int
    source: str
    count: int
    disposition: str
    dkim: bool
    spf: bool
    header_from: str
    reporter: str
    proven: str
    dkim_domains: tuple[str, ...] = ()
    spf_domains: tuple[str, ...] = ()
    policy: str = ""


@dataclass(frozen=True, slots=True)
class KeptTls:
    """Sessions to one of our domains on one day, as one reporter told. With `result` it is a kind of failure, and
    `count` how many of `failures` were of it; without, the sum."""

    domain: str
    day: int
    kind: str
    reporter: str
    proven: str
    successes: int = 0
    failures: int = 0
    result: str = ""
    host: str = ""
    count: int = 0
    reason: str = ""
