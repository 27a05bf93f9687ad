"""Every key of the configuration: its type, its default, the rule its value must follow (design section 6).

`etc/mailserver.toml` says the same with comments; a test holds the two together. Times are seconds, sizes octets,
paths absolute, domains canonical. A key without a default must be set.
"""

from collections.abc import Mapping
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

from attrs import Factory, frozen

from mailserver.config import values
from mailserver.config.acme import Acme as Acme
from mailserver.config.caps import Caps as Caps
from mailserver.config.doctor import Doctor
from mailserver.config.hold import Hold as Hold
from mailserver.config.hold import tables as hold_tables
from mailserver.config.junk import Dnsbl, Junk, Rspamd, dnsbl_tables
from mailserver.config.junk import WhenDown as WhenDown
from mailserver.config.own_mta_sts import OwnMtaSts
from mailserver.config.reports import Reports
from mailserver.config.schedules import ScheduleTable, notice_time, retry_times
from mailserver.config.schedules import tables as schedule_tables
from mailserver.config.values import HostPort, choice, duration, list_of, only, size, whole_number
from mailserver.config.web import Web
from mailserver.mail.address import Mailbox
from mailserver.mail.dmarc import DmarcQuarantine as DmarcQuarantine
from mailserver.mail.dmarc import DmarcUse as DmarcUse
from mailserver.mail.domains import most_specific
from mailserver.mail.peer import IpNetwork
from mailserver.mail.route import AddressFamily as AddressFamily
from mailserver.mail.route import SmarthostTls as SmarthostTls


class AuthWithoutTls(Enum):
    """Where a password may be said without TLS."""

    NEVER = "never"
    LOOPBACK = "loopback"  # 127.0.0.0/8, ::1; never through a proxy
    ALWAYS = "always"


class Check(Enum):
    """Whether something about a stranger's message is looked into."""

    CHECK = "check"
    OFF = "off"


class SpfFail(Enum):
    """What becomes of a message whose sender's domain says that the client may not send it."""

    RECORD = "record"
    REFUSE = "refuse"


class Dane(Enum):
    """Whether TLSA records of other domains are followed (RFC 7672)."""

    AUTO = "auto"  # where a resolver on this machine validates
    OFF = "off"


class MtaSts(Enum):
    """Whether MTA-STS policies of other domains are followed (RFC 8461)."""

    ON = "on"
    OFF = "off"


class RememberedTls(Enum):
    """What follows when a host does no TLS that did before."""

    TELL = "tell"
    REQUIRE = "require"  # mail to it waits


class PublishTlsa(Enum):
    """Whether a TLSA record of our own is to be published."""

    AUTO = "auto"  # where the server itself keeps the key of its certificate
    ON = "on"
    OFF = "off"


class BareNewlines(Enum):
    """What happens to a bare CR or LF in content from an authenticated client."""

    REFUSE = "refuse"
    REPAIR = "repair"


Seconds = Annotated[float, duration()]
Flag = Annotated[bool, values.boolean]
Domains = Annotated[tuple[str, ...], list_of(values.domain, "domains", '["example.org"]', minimum=1)]
Mailboxes = Annotated[tuple[Mailbox, ...], list_of(values.mailbox, "addresses", '["alice@example.org"]')]
Networks = Annotated[tuple[IpNetwork, ...], list_of(values.network, "networks", '["192.0.2.0/24"]')]
Endpoints = Annotated[tuple[str, ...], list_of(values.plain_text, "listeners", '["tcp:25"]', is_set=False)]
NotYetEndpoints = Annotated[
    tuple[str, ...], only(list_of(values.plain_text, "listeners", '["tcp:25"]').read, default=[])
]
OptionalPath = Annotated[Path | None, values.optional_path]

DEFAULT_RETRY = (300.0, 600.0, 1200.0, 2400.0, 3600.0, 7200.0, 14400.0)
DEFAULT_DROP = "/var/spool/mailserver-drop"


@frozen
class Practice:
    """Accounts made at first start, for trying things out."""

    accounts: Mailboxes = ()


@frozen
class Storage:
    """Where mail and state live. `min_free` octets: below this new mail is put off."""

    maildirs: Annotated[Path, values.path] = Path("../maildirs")
    state: Annotated[Path, values.path] = Path("../var")
    min_free: Annotated[int, size()] = 200_000_000


@frozen
class Accounts:
    """The file with accounts, passwords and aliases."""

    file: Annotated[Path, values.path] = Path("accounts.toml")


@frozen
class Listen:
    """Twisted endpoint strings for each service; empty is off."""

    smtp: Endpoints = ("tcp:25",)
    submission: Endpoints = ("tcp:587",)
    submissions: Endpoints = ("tcp:465",)
    pop3: Endpoints = ("tcp:110",)
    pop3s: Endpoints = ("tcp:995",)
    lmtp: NotYetEndpoints = ()
    http: Endpoints = ()
    https: Endpoints = ()


@frozen
class Tls:
    """A certificate of the owner's; without one the server makes its own."""

    certificate: OptionalPath = None
    private_key: OptionalPath = None


@frozen
class Smtp:
    """Port 25, and the limits that submission shares."""

    max_message_size: Annotated[int, size(minimum=1)] = 50_000_000
    max_recipients: Annotated[int, whole_number()] = 100
    command_timeout: Seconds = 300.0
    data_timeout: Seconds = 1800.0
    min_rate: Annotated[int, size()] = 100  # octets a second
    max_errors: Annotated[int, whole_number()] = 20
    max_connections: Annotated[int, whole_number()] = 2000
    max_connections_per_client: Annotated[int, whole_number()] = 20
    auth: Flag = False
    trusted_networks: Networks = ()


@frozen
class Submission:
    """Ports 587 and 465."""

    auth_without_tls: Annotated[AuthWithoutTls, choice(AuthWithoutTls)] = AuthWithoutTls.NEVER
    bare_newlines: Annotated[BareNewlines, choice(BareNewlines)] = BareNewlines.REFUSE


@frozen
class Auth:
    """What happens to those who guess passwords."""

    max_failures: Annotated[int, whole_number()] = 5
    slow_after: Annotated[int, whole_number(minimum=0)] = 3
    exempt_networks: Networks = ()
    # Whether keys for SCRAM are kept, and SCRAM is offered once everybody has them.
    scram: bool = True


@frozen
class Times:
    """When mail is tried again, given up, and told to be late (0: never); seconds."""

    retry: tuple[float, ...]
    expire_after: float
    delay_notice_after: float


@frozen
class Relay:
    """Mail on its way out. `helo` is never empty in a loaded configuration: it has become the host name."""

    smarthost: Annotated[HostPort | None, values.smarthost] = None
    smarthost_tls: Annotated[SmarthostTls, choice(SmarthostTls)] = SmarthostTls.STARTTLS
    smarthost_ca_file: OptionalPath = None
    smarthost_username: Annotated[str, values.plain_text] = ""
    smarthost_password_file: OptionalPath = None
    smarthost_domains: Annotated[tuple[str, ...], list_of(values.domain, "domains", '["example.net"]')] = ()
    smarthost_after: Annotated[int, whole_number(minimum=0, maximum=1000)] = 0
    source_address: Annotated[IPv4Address | None, values.optional_ipv4] = None
    source_address6: Annotated[IPv6Address | None, values.optional_ipv6] = None
    helo: Annotated[str, values.optional_host_name] = ""
    routes: Annotated[Mapping[str, HostPort], values.routes] = Factory(lambda: MappingProxyType({}))
    port: Annotated[int, whole_number(maximum=values.MAX_PORT)] = 25
    address_family: Annotated[AddressFamily, choice(AddressFamily)] = AddressFamily.AUTO
    allow_private: Flag = False
    dane: Annotated[Dane, choice(Dane)] = Dane.AUTO
    mta_sts: Annotated[MtaSts, choice(MtaSts)] = MtaSts.ON
    mta_sts_port: Annotated[int, whole_number(maximum=values.MAX_PORT)] = 443
    remembered_tls: Annotated[RememberedTls, choice(RememberedTls)] = RememberedTls.TELL
    ca_file: OptionalPath = None
    retry: Annotated[tuple[float, ...], retry_times] = DEFAULT_RETRY
    expire_after: Seconds = 5 * 86400.0
    delay_notice_after: Annotated[float, notice_time] = 4 * 3600.0  # 0: no notices
    schedule: Annotated[Mapping[str, ScheduleTable], schedule_tables] = Factory(lambda: MappingProxyType({}))
    max_per_destination: Annotated[int, whole_number()] = 10
    connect_timeout: Seconds = 30.0
    command_timeout: Seconds = 300.0  # for each answer of the other server; twice that after the content
    suppress_after: Annotated[int, whole_number(minimum=0, maximum=100)] = 3  # 0: off
    suppress_for: Seconds = 30 * 86400.0
    transcripts: Flag = False

    @property
    def longest_life(self) -> float:
        """How long a message may wait at most, to wherever it goes; seconds."""
        return max(self.expire_after, *(one.expire_after or 0.0 for one in self.schedule.values()), 0.0)

    def times_for(self, domain: str) -> Times:
        """The times for mail to a canonical domain: its own, or those of the nearest domain above it, or ours."""
        own = most_specific(self.schedule, domain) or ScheduleTable()
        return Times(
            self.retry if own.retry is None else own.retry,
            self.expire_after if own.expire_after is None else own.expire_after,
            self.delay_notice_after if own.delay_notice_after is None else own.delay_notice_after,
        )


@frozen
class Authentication:
    """What is found out about who sent a stranger's message."""

    dkim: Annotated[Check, choice(Check)] = Check.CHECK
    spf: Annotated[Check, choice(Check)] = Check.CHECK
    spf_fail: Annotated[SpfFail, choice(SpfFail)] = SpfFail.RECORD
    spf_timeout: Seconds = 20.0
    received_spf: Flag = False
    dmarc: Annotated[DmarcUse, choice(DmarcUse)] = DmarcUse.CHECK
    dmarc_quarantine: Annotated[DmarcQuarantine, choice(DmarcQuarantine)] = DmarcQuarantine.JUNK
    dmarc_overrides: Annotated[Mapping[str, DmarcUse], values.by_domain(choice(DmarcUse).read, '"check"')] = Factory(
        lambda: MappingProxyType({})
    )
    check_loopback: Flag = False


@frozen
class Dns:
    """Name servers as (address, port), empty is the system's; and what `mailserver dns` says is to be published.

    `spf_include` are domains whose SPF records name others who send for us.
    """

    servers: Annotated[
        tuple[tuple[str, int], ...], list_of(values.name_server, "name servers", '["127.0.0.1:5353"]')
    ] = ()
    spf_include: Annotated[tuple[str, ...], list_of(values.domain, "domains", '["spf.isp.example"]')] = ()
    tlsa: Annotated[PublishTlsa, choice(PublishTlsa)] = PublishTlsa.AUTO


@frozen
class Pop3:
    """Ports 110 and 995."""

    auth_without_tls: Annotated[AuthWithoutTls, choice(AuthWithoutTls)] = AuthWithoutTls.LOOPBACK
    idle_timeout: Seconds = 600.0
    max_connections: Annotated[int, whole_number()] = 500
    max_connections_per_client: Annotated[int, whole_number()] = 20


@frozen
class Journal:
    """The history behind `mailserver why`."""

    enabled: Flag = True
    keep: Seconds = 90 * 86400.0
    max_size: Annotated[int, size(minimum=1)] = 500_000_000
    subjects: Flag = True
    message_ids: Flag = True


@frozen
class Sendmail:
    """The folder where the `sendmail` command leaves mail for the server."""

    drop: Annotated[Path, values.path] = Path(DEFAULT_DROP)


@frozen
class Config:
    """The whole configuration. `path` is the file it came from, `warnings` whole lines about what is unwise."""

    hostname: Annotated[str, values.host_name]
    domains: Domains
    postmaster: Annotated[Mailbox, values.mailbox]
    practice: Practice = Practice()
    storage: Storage = Storage()
    accounts: Accounts = Accounts()
    listen: Listen = Listen()
    tls: Tls = Tls()
    acme: Acme = Factory(Acme)
    mta_sts: OwnMtaSts = Factory(OwnMtaSts)
    web: Web = Factory(Web)
    smtp: Smtp = Smtp()
    submission: Submission = Submission()
    auth: Auth = Auth()
    relay: Relay = Relay()
    hold: Annotated[tuple[Hold, ...], hold_tables] = ()
    caps: Caps = Factory(Caps)
    authentication: Authentication = Authentication()
    junk: Junk = Factory(Junk)
    dnsbl: Annotated[tuple[Dnsbl, ...], dnsbl_tables] = ()
    rspamd: Rspamd = Factory(Rspamd)
    dns: Dns = Dns()
    pop3: Pop3 = Pop3()
    journal: Journal = Journal()
    reports: Reports = Factory(Reports)
    sendmail: Sendmail = Sendmail()
    doctor: Doctor = Factory(Doctor)
    path: Path = Path("mailserver.toml")
    warnings: tuple[str, ...] = ()


# What a missing key is told with.
REQUIRED = {
    "hostname": 'this server\'s own full name, such as hostname = "mail.example.org"',
    "domains": 'the domains whose mail is kept here, such as domains = ["example.org"]',
    "postmaster": 'who looks after the mail, such as postmaster = "alice@example.org"',
}
# Not keys: filled in by the loader.
DERIVED = frozenset({"path", "warnings"})
