"""What a mail server's owner publishes in DNS, as values.

`publish.records_for` turns a `Site` into `Record`s, `check.check_record` compares one with what the world sees.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType

from mailserver.mail.address import Mailbox
from mailserver.mail.dkim_key import DkimKey
from mailserver.mail.dns import IpAddress
from mailserver.policy.dkim.keys import strings

TTL_S = 3600


class Need(Enum):
    """How much depends on a record."""

    REQUIRED = "required"  # without it mail does not come in, or is refused elsewhere
    RECOMMENDED = "recommended"
    OPTIONAL = "optional"
    ASK = "ask"  # required, but only whoever owns the address can publish it: the provider


class Topic(Enum):
    """What a record is about; each is checked in a way of its own."""

    MX = "mx"
    ADDRESS = "address"
    REVERSE = "reverse"
    SPF = "spf"
    HELO_SPF = "helo-spf"
    DKIM = "dkim"
    DMARC = "dmarc"
    DMARC_REPORTS = "dmarc-reports"  # the domain that takes reports for another agrees to that
    MTA_STS = "mta-sts"
    TLSRPT = "tlsrpt"
    TLSA = "tlsa"
    SERVICE = "service"  # where mail programs find a service
    NO_SERVICE = "no-service"  # that there is none of a kind
    WEB_HOST = "web-host"  # a host name under which this server answers over HTTP(S)
    CAA = "caa"


@dataclass(frozen=True, slots=True)
class Record:
    """One record to publish.

    `name` is fully qualified without its final dot. `kind` is `MX`, `A`, `AAAA`, `PTR`, `TXT`, `SRV`, `CNAME`, `TLSA`
    or `CAA`. `value` is its data as a zone file has it (RFC 1035 5.1), TXT in quoted strings. `purpose` is one plain
    line.
    """

    name: str
    kind: str
    value: str
    purpose: str
    need: Need
    topic: Topic

    @property
    def text(self) -> str:
        """The value as most forms on the web want it: a TXT record's text without quotes, else as in a zone file."""
        return unquoted(self.value) if self.kind == "TXT" else self.value

    @property
    def zone_line(self) -> str:
        """The record in zone-file form, on one line."""
        return f"{self.name}. {TTL_S} IN {self.kind} {self.value}"


@dataclass(frozen=True, slots=True)
class Service:
    """One that mail programs use: `submissions`, `submission`, `pop3s` or `pop3`, and its port."""

    name: str
    port: int


@dataclass(frozen=True, slots=True)
class Site:
    """The facts of one server that its records follow from. Names are canonical.

    `addresses` are those at which the world reaches it, `sources` those it sends from (None: the same). `helo` is its
    name in EHLO (empty: `hostname`). `smarthost` is the host that mail leaves through, empty for none; `sends_directly`
    whether any mail leaves without it. `spf_include` are domains whose SPF records name those who send for us. `dkim`
    are keys whose records have to be in DNS. `sts_ids` has the id of our own MTA-STS policy by domain, `serves_policy`
    says whether this server shows it over HTTPS, or another one. `tlsa` are SHA-256 hashes (hex) of the public keys in
    force, as long as renewals keep them. `reports_to` gets the reports of others about our mail (None: the postmaster
    of each domain), `tls_reports_to` those about TLS. `caa_issuer` is the name under which our certificates' authority
    goes in CAA records, empty for none.
    """

    hostname: str
    domains: tuple[str, ...]
    addresses: tuple[IpAddress, ...] = ()
    sources: tuple[IpAddress, ...] | None = None
    helo: str = ""
    smarthost: str = ""
    sends_directly: bool = True
    spf_include: tuple[str, ...] = ()
    dkim: tuple[DkimKey, ...] = ()
    sts_ids: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    tlsa: tuple[str, ...] = ()
    services: tuple[Service, ...] = ()
    reports_to: Mailbox | None = None
    tls_reports_to: Mailbox | None = None
    serves_policy: bool = True
    has_autoconfig: bool = False
    caa_issuer: str = ""

    @property
    def said_name(self) -> str:
        """What it says in EHLO."""
        return self.helo or self.hostname

    @property
    def senders(self) -> tuple[IpAddress, ...]:
        """Where its mail comes from, as others see it; empty when that is not known."""
        return self.addresses if self.sources is None else self.sources


def quoted(text: str) -> str:
    """A text as a TXT record has it in a zone file: strings of at most 255 octets (RFC 1035 3.3.14)."""
    return " ".join('"' + part.replace("\\", "\\\\").replace('"', '\\"') + '"' for part in strings(text) or ("",))


def unquoted(value: str) -> str:
    """The text of what `quoted` made."""
    out: list[str] = []
    is_inside = is_escaped = False
    for char in value:
        if is_escaped:
            out.append(char)
            is_escaped = False
        elif char == "\\":
            is_escaped = True
        elif char == '"':
            is_inside = not is_inside
        elif is_inside:
            out.append(char)
    return "".join(out)


def zone_text(records: Iterable[Record], remarks: Iterable[str] = ()) -> str:
    """All records as a zone file, each with its purpose behind `;`. It can be read by any name server's tools."""
    lines = [f"; {remark}" for remark in remarks]
    for record in records:
        lines += ["", f"; {record.need.value}: {record.purpose}", record.zone_line]
    return "\n".join(lines).lstrip("\n") + "\n"
