"""A whole server's facts, and each way in which one of its records can be wrong, or different and right all the same.

Tests of the rules go through these in memory; others publish them in a fake of DNS and run the command.
"""

import copy
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address

from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mailserver.mail.dkim_key import DkimKey
from mailserver.policy.records.values import Service, Site

Zone = dict
SPKI = "5e" * 32
IPV4, IPV6 = ip_address("192.0.2.7"), ip_address("2001:db8::7")
RSA_PUBLIC = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
RSA_KEY = DkimKey(
    "example.org",
    "r202611",
    "rsa-sha256",
    b64encode(RSA_PUBLIC.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode(),
    created_at=1.0,
    activated_at=2.0,
)
ED_KEY = DkimKey(
    "example.org",
    "e202611",
    "ed25519-sha256",
    b64encode(ed25519.Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode(),
    created_at=1.0,
    activated_at=2.0,
)
OTHER_KEY = b64encode(
    ed25519.Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
).decode()

SITE = Site(
    hostname="mail.example.org",
    domains=("example.org",),
    addresses=(IPV4, IPV6),
    dkim=(RSA_KEY, ED_KEY),
    sts_ids={"example.org": "20261125T120000"},
    tlsa=(SPKI,),
    services=(Service("submissions", 465), Service("submission", 587), Service("pop3s", 995), Service("pop3", 110)),
    has_autoconfig=True,
    caa_issuer="letsencrypt.org",
)

REVERSE4, REVERSE6 = IPV4.reverse_pointer, IPV6.reverse_pointer
OUR_SPF = f"v=spf1 ip4:{IPV4} ip6:{IPV6} -all"
OUR_DMARC = "v=DMARC1; p=none; rua=mailto:postmaster@example.org"


def changed(zone: Zone, name: str, **values) -> Zone:
    """The zone with other values at one name; None takes a type away, and `gone=True` the whole name."""
    zone = copy.deepcopy(zone)
    if values.pop("gone", False):
        del zone[name]
        return zone
    entry = zone.setdefault(name, {})
    for kind, value in values.items():
        if value is None:
            entry.pop(kind, None)
        else:
            entry[kind] = value
    return zone


@dataclass(frozen=True)
class Change:
    """One thing done to the zone. `record` is (name, type) of the record that it concerns, `said` part of what is told.

    `publish` is the value that is to be published; None: that of the record itself.
    """

    label: str
    do: Callable[[Zone], Zone]
    record: tuple[str, str]
    said: str
    publish: str | None = None


def at(name, **values):
    """A change to the entry of one name."""
    return lambda zone: changed(zone, name, **values)


def also(*steps):
    """Several changes, one after the other."""

    def do(zone):
        for step in steps:
            zone = step(zone)
        return zone

    return do


_DKIM = "r202611._domainkey.example.org"
_TLSA = "_25._tcp.mail.example.org"

MISSING = [
    Change("mx", at("example.org", MX=None), ("example.org", "MX"), "no such record"),
    Change("ipv4", at("mail.example.org", A=None), ("mail.example.org", "A"), "no such record"),
    Change("ipv6", at("mail.example.org", AAAA=None), ("mail.example.org", "AAAA"), "no such record"),
    Change("reverse4", at(REVERSE4, gone=True), (REVERSE4, "PTR"), "does not know the name"),
    Change("reverse6", at(REVERSE6, gone=True), (REVERSE6, "PTR"), "does not know the name"),
    Change("spf", at("example.org", TXT=None), ("example.org", "TXT"), "no such record"),
    Change("spf-among-others", at("example.org", TXT=["site=1"]), ("example.org", "TXT"), "no such record"),
    Change("helo-spf", at("mail.example.org", TXT=None), ("mail.example.org", "TXT"), "no such record"),
    Change("dkim", at(_DKIM, gone=True), (_DKIM, "TXT"), "does not know the name"),
    Change("dmarc", at("_dmarc.example.org", gone=True), ("_dmarc.example.org", "TXT"), "does not know the name"),
    Change("sts", at("_mta-sts.example.org", gone=True), ("_mta-sts.example.org", "TXT"), "does not know the name"),
    Change("sts-host", at("mta-sts.example.org", gone=True), ("mta-sts.example.org", "CNAME"), "does not know"),
    Change("tlsrpt", at("_smtp._tls.example.org", gone=True), ("_smtp._tls.example.org", "TXT"), "does not know"),
    Change("tlsa", at(_TLSA, gone=True), (_TLSA, "TLSA"), "does not know the name"),
    Change("srv", at("_pop3s._tcp.example.org", gone=True), ("_pop3s._tcp.example.org", "SRV"), "does not know"),
    Change("no-imap", at("_imap._tcp.example.org", gone=True), ("_imap._tcp.example.org", "SRV"), "does not know"),
    Change("autoconfig", at("autoconfig.example.org", gone=True), ("autoconfig.example.org", "CNAME"), "not know"),
    Change("caa", at("mail.example.org", CAA=None), ("mail.example.org", "CAA"), "no such record"),
]

MISSING += [
    Change(
        "dmarc-with-the-domain-twice",
        also(at("_dmarc.example.org", gone=True), at("_dmarc.example.org.example.org", TXT=[OUR_DMARC])),
        ("_dmarc.example.org", "TXT"),
        "your provider adds example.org by itself, so the name is only _dmarc",
    ),
    Change(
        "mx-with-the-domain-twice",
        also(at("example.org", MX=None), at("example.org.example.org", MX=[[10, "mail.example.org"]])),
        ("example.org", "MX"),
        "so the name is only @",
    ),
    Change(
        "dmarc-at-the-domain",
        also(at("_dmarc.example.org", gone=True), at("example.org", TXT=[OUR_SPF, OUR_DMARC])),
        ("_dmarc.example.org", "TXT"),
        "it stands at example.org, where nobody looks for it; the name is _dmarc",
    ),
    Change(
        "dkim-without-its-label",
        also(at(_DKIM, gone=True), at("r202611.example.org", TXT=[RSA_KEY.record])),
        (_DKIM, "TXT"),
        "it stands at r202611.example.org, where nobody looks for it; the name is r202611._domainkey",
    ),
]

_WITH_OTHER_HOST = at("mx.isp.example", A=["198.51.100.9"])

WRONG = [
    Change(
        "mx-elsewhere",
        also(at("example.org", MX=[[10, "mx.isp.example"]]), _WITH_OTHER_HOST),
        ("example.org", "MX"),
        "goes to mx.isp.example, and not to this server",
    ),
    Change("mx-to-nothing", at("example.org", MX=[[10, "gone.example.org"]]), ("example.org", "MX"), "gone.example"),
    Change(
        "mx-without-its-dot",
        at("example.org", MX=[[10, "mail.example.org.example.org"]]),
        ("example.org", "MX"),
        "the dot behind the name is missing",
    ),
    Change(
        "reverse-without-its-dot",
        at(REVERSE4, PTR=["mail.example.org.2.0.192.in-addr.arpa"]),
        (REVERSE4, "PTR"),
        "the dot behind the name is missing",
    ),
    Change("spf-in-quotes", at("example.org", TXT=[f'"{OUR_SPF}"']), ("example.org", "TXT"), "the quotes are part of"),
    Change("dkim-in-quotes", at(_DKIM, TXT=[f'"{RSA_KEY.record}"']), (_DKIM, "TXT"), "the quotes are part of"),
    Change(
        "dmarc-in-quotes",
        at("_dmarc.example.org", TXT=[f'"{OUR_DMARC}"']),
        ("_dmarc.example.org", "TXT"),
        "the quotes are part of",
    ),
    Change("null-mx", at("example.org", MX=[[0, "."]]), ("example.org", "MX"), "no mail at all"),
    Change(
        "mx-to-an-alias",
        also(at("example.org", MX=[[10, "alias.example.org"]]), at("alias.example.org", CNAME=["mail.example.org"])),
        ("example.org", "MX"),
        "is an alias (CNAME) of mail.example.org",
    ),
    Change("other-ipv4", at("mail.example.org", A=["192.0.2.8"]), ("mail.example.org", "A"), "and not to 192.0.2.7"),
    Change("other-ipv6", at("mail.example.org", AAAA=["2001:db8::8"]), ("mail.example.org", "AAAA"), "2001:db8::8"),
    Change(
        "reverse-that-does-not-lead-back",
        also(at(REVERSE4, PTR=["host-7.isp.example"]), at("host-7.isp.example", A=["192.0.2.70"])),
        (REVERSE4, "PTR"),
        "host-7.isp.example, which does not lead back",
    ),
    Change(
        "reverse-to-nothing", at(REVERSE4, PTR=["host-7.isp.example"]), (REVERSE4, "PTR"), "which does not lead back"
    ),
    Change(
        "two-spf",
        also(
            at("example.org", TXT=["v=spf1 include:news.example -all", OUR_SPF]),
            at("news.example", TXT=["v=spf1 ?all"]),
        ),
        ("example.org", "TXT"),
        "2 SPF records",
        f'"v=spf1 ip4:{IPV4} ip6:{IPV6} include:news.example -all"',
    ),
    Change(
        "spf-for-others-only",
        also(at("example.org", TXT=["v=spf1 include:news.example ~all"]), at("news.example", TXT=["v=spf1 ?all"])),
        ("example.org", "TXT"),
        "does not let 192.0.2.7 and 2001:db8::7 send",
        f'"v=spf1 ip4:{IPV4} ip6:{IPV6} include:news.example ~all"',
    ),
    Change(
        "spf-without-ipv6",
        at("example.org", TXT=[f"v=spf1 ip4:{IPV4} -all"]),
        ("example.org", "TXT"),
        "does not let 2001:db8::7 send",
        f'"v=spf1 ip6:{IPV6} ip4:{IPV4} -all"',
    ),
    Change("spf-for-all", at("example.org", TXT=["v=spf1 +all"]), ("example.org", "TXT"), "everybody"),
    Change(
        "spf-unreadable", at("example.org", TXT=["v=spf1 ipv4:1.2.3.4 -all"]), ("example.org", "TXT"), "cannot read"
    ),
    Change("spf-misspelled", at("example.org", TXT=["v=spf1; mx -all"]), ("example.org", "TXT"), "no SPF record"),
    Change(
        "spf-too-deep",
        at("example.org", TXT=["v=spf1 include:a.example include:b.example -all"]),
        ("example.org", "TXT"),
        "cannot evaluate it: include names a domain without an SPF record",
    ),
    Change("helo-spf-refuses", at("mail.example.org", TXT=["v=spf1 -all"]), ("mail.example.org", "TXT"), "not let"),
    Change("dkim-other", at(_DKIM, TXT=[f"v=DKIM1; k=rsa; p={OTHER_KEY}"]), (_DKIM, "TXT"), "unreadable"),
    Change("dkim-cut", at(_DKIM, TXT=[RSA_KEY.record[:255]]), (_DKIM, "TXT"), "unreadable"),
    Change("dkim-revoked", at(_DKIM, TXT=["v=DKIM1; p="]), (_DKIM, "TXT"), "revoked"),
    Change("dkim-two", at(_DKIM, TXT=[RSA_KEY.record, "v=DKIM1; p="]), (_DKIM, "TXT"), "2 records at this name"),
    Change(
        "dkim-another-ed25519",
        at("e202611._domainkey.example.org", TXT=[f"v=DKIM1; k=ed25519; p={OTHER_KEY}"]),
        ("e202611._domainkey.example.org", "TXT"),
        "another key",
    ),
    Change(
        "dmarc-two", at("_dmarc.example.org", TXT=[OUR_DMARC, OUR_DMARC + "; t=y"]), ("_dmarc.example.org", "TXT"), "2 "
    ),
    Change(
        "dmarc-without-policy",
        at("_dmarc.example.org", TXT=["v=DMARC1; rua=mailto:a@example.org"]),
        ("_dmarc.example.org", "TXT"),
        "no policy",
    ),
    Change(
        "dmarc-misspelled-policy",
        at("_dmarc.example.org", TXT=["v=DMARC1; p=quarentine; rua=mailto:a@example.org"]),
        ("_dmarc.example.org", "TXT"),
        "cannot be read",
    ),
    Change(
        "dmarc-order",
        at("_dmarc.example.org", TXT=["p=none; v=DMARC1"]),
        ("_dmarc.example.org", "TXT"),
        "no DMARC record",
    ),
    Change("sts-old-id", at("_mta-sts.example.org", TXT=["v=STSv1; id=1"]), ("_mta-sts.example.org", "TXT"), "its id"),
    Change("sts-no-id", at("_mta-sts.example.org", TXT=["v=STSv1;"]), ("_mta-sts.example.org", "TXT"), "cannot read"),
    Change(
        "sts-two",
        at("_mta-sts.example.org", TXT=["v=STSv1; id=1", "v=STSv1; id=20261125T120000"]),
        ("_mta-sts.example.org", "TXT"),
        "2 MTA-STS records",
    ),
    Change(
        "sts-host-elsewhere",
        at("mta-sts.example.org", CNAME=None, A=["198.51.100.9"]),
        ("mta-sts.example.org", "CNAME"),
        "leads to 198.51.100.9, and not to this server",
    ),
    Change(
        "sts-host-dangling",
        at("mta-sts.example.org", CNAME=["gone.example.org"]),
        ("mta-sts.example.org", "CNAME"),
        "an alias of gone.example.org, which has no address",
    ),
    Change(
        "tlsrpt-nowhere", at("_smtp._tls.example.org", TXT=["v=TLSRPTv1"]), ("_smtp._tls.example.org", "TXT"), "rua="
    ),
    Change("tlsa-of-an-old-key", at(_TLSA, TLSA=["3 1 1 " + "00" * 32]), (_TLSA, "TLSA"), "another key"),
    Change(
        "srv-elsewhere",
        also(at("_pop3s._tcp.example.org", SRV=["0 1 995 mx.isp.example."]), _WITH_OTHER_HOST),
        ("_pop3s._tcp.example.org", "SRV"),
        "sent to mx.isp.example, port 995",
    ),
    Change(
        "srv-port",
        at("_pop3s._tcp.example.org", SRV=["0 1 993 mail.example.org."]),
        ("_pop3s._tcp.example.org", "SRV"),
        "port 993",
    ),
    Change(
        "srv-none",
        at("_pop3s._tcp.example.org", SRV=["0 0 0 ."]),
        ("_pop3s._tcp.example.org", "SRV"),
        "no such service",
    ),
    Change(
        "imap",
        at("_imap._tcp.example.org", SRV=["0 1 143 old.example.org."]),
        ("_imap._tcp.example.org", "SRV"),
        "IMAP",
    ),
    Change(
        "caa-other", at("mail.example.org", CAA=['0 issue "ca.example"']), ("mail.example.org", "CAA"), "next renewal"
    ),
    Change(
        "caa-above",
        also(at("mail.example.org", CAA=None), at("example.org", CAA=['0 issue ";"'])),
        ("mail.example.org", "CAA"),
        "the records at example.org do not let letsencrypt.org",
    ),
    Change(
        "wildcard-text",
        also(at("_dmarc.example.org", gone=True), at("*.example.org", TXT=["v=dmarc1 p=none"])),
        ("_dmarc.example.org", "TXT"),
        "comes from a wildcard, *.example.org",
    ),
    Change(
        "wildcard-host",
        also(at("autoconfig.example.org", gone=True), at("*.example.org", A=["198.51.100.9"])),
        ("autoconfig.example.org", "CNAME"),
        "comes from a wildcard, *.example.org",
    ),
]

# Right all the same; `said` is what is told besides, empty for nothing.
DIFFERENT = [
    Change("mx-preference", at("example.org", MX=[[0, "mail.example.org"]]), ("example.org", "MX"), ""),
    Change(
        "mx-by-another-name",
        also(at("example.org", MX=[[5, "mx1.example.org"]]), at("mx1.example.org", A=[str(IPV4)])),
        ("example.org", "MX"),
        "",
    ),
    Change(
        "mx-backup",
        also(at("example.org", MX=[[10, "mail.example.org"], [20, "mx.isp.example"]]), _WITH_OTHER_HOST),
        ("example.org", "MX"),
        "when this server cannot be reached, mail for example.org goes to mx.isp.example",
    ),
    Change(
        "mx-first-elsewhere",
        also(at("example.org", MX=[[10, "mail.example.org"], [5, "mx.isp.example"]]), _WITH_OTHER_HOST),
        ("example.org", "MX"),
        "mx.isp.example, which others try first",
    ),
    Change("more-ipv4", at("mail.example.org", A=[str(IPV4), "192.0.2.8"]), ("mail.example.org", "A"), "192.0.2.8"),
    Change(
        "reverse-by-another-name",
        also(at(REVERSE4, PTR=["host-7.isp.example"]), at("host-7.isp.example", A=[str(IPV4)])),
        (REVERSE4, "PTR"),
        "its name is host-7.isp.example",
    ),
    Change("several-reverse-names", at(REVERSE4, PTR=["www.example.org", "mail.example.org"]), (REVERSE4, "PTR"), ""),
    Change("spf-mx", at("example.org", TXT=["v=spf1 mx -all"]), ("example.org", "TXT"), ""),
    Change("spf-case", at("example.org", TXT=["V=SPF1 MX A:MAIL.example.org -ALL"]), ("example.org", "TXT"), ""),
    Change("spf-soft", at("example.org", TXT=["v=spf1 a:mail.example.org ~all"]), ("example.org", "TXT"), "~all"),
    Change("spf-open-end", at("example.org", TXT=["v=spf1 mx"]), ("example.org", "TXT"), "nothing about all others"),
    Change(
        "spf-network",
        at("example.org", TXT=["v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all"]),
        ("example.org", "TXT"),
        "",
    ),
    Change(
        "spf-redirect",
        also(at("example.org", TXT=["v=spf1 redirect=_spf.example.org"]), at("_spf.example.org", TXT=[OUR_SPF])),
        ("example.org", "TXT"),
        "",
    ),
    Change("spf-beside-others", at("example.org", TXT=["site=1", OUR_SPF, "x" * 700]), ("example.org", "TXT"), ""),
    Change("dkim-order", at(_DKIM, TXT=[f"p={RSA_KEY.public}; k=rsa"]), (_DKIM, "TXT"), ""),
    Change(
        "dkim-spaces",
        at(_DKIM, TXT=[f"v=DKIM1;k=rsa;p={RSA_KEY.public[:40]} {RSA_KEY.public[40:]};"]),
        (_DKIM, "TXT"),
        "",
    ),
    Change("dkim-testing", at(_DKIM, TXT=[f"v=DKIM1; t=y; p={RSA_KEY.public}"]), (_DKIM, "TXT"), "t=y"),
    Change(
        "dkim-by-alias",
        lambda zone: changed(
            changed(zone, _DKIM, TXT=None, CNAME=["keys.isp.example"]), "keys.isp.example", TXT=[RSA_KEY.record]
        ),
        (_DKIM, "TXT"),
        "",
    ),
    Change(
        "dmarc-stricter",
        at("_dmarc.example.org", TXT=["v=DMARC1;p=reject;rua=mailto:x@report.example"]),
        ("_dmarc.example.org", "TXT"),
        "",
    ),
    Change(
        "dmarc-order",
        at("_dmarc.example.org", TXT=["v=DMARC1; rua=mailto:a@example.org; sp=reject; p=quarantine"]),
        ("_dmarc.example.org", "TXT"),
        "",
    ),
    Change(
        "dmarc-no-reports",
        at("_dmarc.example.org", TXT=["v=DMARC1; p=quarantine"]),
        ("_dmarc.example.org", "TXT"),
        "nobody gets reports",
    ),
    Change(
        "dmarc-trial",
        at("_dmarc.example.org", TXT=["v=DMARC1; p=reject; t=y; rua=mailto:a@example.org"]),
        ("_dmarc.example.org", "TXT"),
        "t=y",
    ),
    Change(
        "dmarc-inherited",
        also(at("_dmarc.example.org", gone=True), at("_dmarc.org", TXT=["v=DMARC1; p=reject"])),
        ("_dmarc.example.org", "TXT"),
        "_dmarc.org counts",
    ),
    Change(
        "sts-spaces",
        at("_mta-sts.example.org", TXT=["v=STSv1 ; id=20261125T120000 ;"]),
        ("_mta-sts.example.org", "TXT"),
        "",
    ),
    Change(
        "sts-host-addresses", at("mta-sts.example.org", CNAME=None, A=[str(IPV4)]), ("mta-sts.example.org", "CNAME"), ""
    ),
    Change(
        "sts-host-more",
        at("mta-sts.example.org", CNAME=None, A=[str(IPV4), "192.0.2.9"]),
        ("mta-sts.example.org", "CNAME"),
        "192.0.2.9",
    ),
    Change(
        "tlsrpt-elsewhere",
        at("_smtp._tls.example.org", TXT=["v=TLSRPTv1;rua=https://r.example/x,mailto:a@b.example"]),
        ("_smtp._tls.example.org", "TXT"),
        "",
    ),
    Change("tlsa-more", at(_TLSA, TLSA=["3 1 1 " + "00" * 32, "3 1 1 " + SPKI.upper()]), (_TLSA, "TLSA"), "signed"),
    Change("tlsa-authority", at(_TLSA, TLSA=["2 1 1 " + "00" * 32]), (_TLSA, "TLSA"), "names an authority"),
    Change("tlsa-signed", lambda zone: changed(zone, _TLSA, signed=True), (_TLSA, "TLSA"), ""),
    Change(
        "srv-weights",
        at("_pop3s._tcp.example.org", SRV=["5 50 995 mail.example.org."]),
        ("_pop3s._tcp.example.org", "SRV"),
        "",
    ),
    Change(
        "autoconfig-wildcard",
        also(at("autoconfig.example.org", gone=True), at("*.example.org", CNAME=["mail.example.org"])),
        ("autoconfig.example.org", "CNAME"),
        "",
    ),
    Change(
        "caa-more",
        at("mail.example.org", CAA=['0 issue "ca.example"', '0 issue "letsencrypt.org; validationmethods=dns-01"']),
        ("mail.example.org", "CAA"),
        "",
    ),
    Change(
        "caa-above",
        also(at("mail.example.org", CAA=None), at("example.org", CAA=['0 issue "letsencrypt.org"'])),
        ("mail.example.org", "CAA"),
        "it stands at example.org",
    ),
    Change(
        "caa-no-issue",
        at("mail.example.org", CAA=['0 iodef "mailto:a@example.org"']),
        ("mail.example.org", "CAA"),
        "forbids no authority",
    ),
]
