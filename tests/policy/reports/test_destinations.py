"""Who gets our reports (RFC 9990 4, RFC 8460 3)."""

import pytest

from mailserver.mail.address import Mailbox
from mailserver.policy.reports.destinations import AskAgain, PostTo, ReportTo, dmarc_destinations, tls_destinations
from tests.fakes.awaiting import run
from tests.fakes.clock import FakeClock
from tests.fakes.zone import ZoneResolver

RUA = Mailbox("rua", "example.org")


def asked(zone: dict[str, list[str]], domain: str = "example.org") -> tuple[ReportTo, ...]:
    resolver = ZoneResolver({name: {"TXT": texts} for name, texts in zone.items()})
    return run(dmarc_destinations(domain, resolver, FakeClock()))


def own(rua: str) -> dict[str, list[str]]:
    return {"_dmarc.example.org": [f"v=DMARC1; p=none; rua={rua}"]}


@pytest.mark.parametrize(
    ("rua", "expected"),
    [
        ("mailto:rua@example.org", (ReportTo(RUA),)),
        ("MAILTO:rua@EXAMPLE.org", (ReportTo(RUA),)),
        ("mailto:rua@example.org!10m", (ReportTo(RUA, 10 * 2**20),)),
        ("mailto:rua@example.org!500", (ReportTo(RUA, 500),)),
        ("mailto:r%75a@example.org?subject=x", (ReportTo(RUA),)),
        ("mailto:rua@example.org, mailto:rua@example.org", (ReportTo(RUA),)),
        (" mailto:rua@example.org ,https://example.org/dmarc", (ReportTo(RUA),)),
        ("mailto:dmarc@mail.example.org", (ReportTo(Mailbox("dmarc", "mail.example.org")),)),
        ("https://example.org/dmarc", ()),
        ("mailto:nobody", ()),
        ("mailto:%22a%20b%22@example.org", ()),
        ("mailto:%C3%BC@example.org", ()),
        ("mailto:a@[192.0.2.1]", ()),
        ("mailto:a%0d%0aBcc:x@example.org", ()),
        ("", ()),
    ],
)
def test_addresses_in_the_record(rua, expected):
    assert asked(own(rua)) == expected


def test_there_is_an_end_to_destinations():
    many = ",".join(f"mailto:a{number}@example.org" for number in range(50))
    assert len(asked(own(many))) == 4


def test_two_records_are_none():
    assert asked({"_dmarc.example.org": ["v=DMARC1; rua=mailto:rua@example.org"] * 2}) == ()
    assert asked({}) == ()


OUTSIDE = Mailbox("reports", "red.example.net")
CONSENT = "example.org._report._dmarc.red.example.net"


@pytest.mark.parametrize(
    ("consent", "expected"),
    [
        (None, ()),
        (["v=DMARC1"], (ReportTo(OUTSIDE),)),
        (["v=DMARC1;"], (ReportTo(OUTSIDE),)),
        (["hello", "v=DMARC1; x=y"], (ReportTo(OUTSIDE),)),
        (["yes please"], ()),
        (["v=DMARC1; rua=mailto:others@red.example.net"], (ReportTo(Mailbox("others", "red.example.net")),)),
        (["v=DMARC1; rua=mailto:victim@elsewhere.example"], ()),
    ],
)
def test_who_gets_reports_about_another_domain_has_to_want_them(consent, expected):
    zone = own("mailto:reports@red.example.net")
    if consent is not None:
        zone[CONSENT] = consent
    assert asked(zone) == expected


def test_a_wildcard_wants_the_reports_of_all():
    zone = own("mailto:reports@red.example.net") | {"*._report._dmarc.red.example.net": ["v=DMARC1"]}
    zone[CONSENT] = zone.pop("*._report._dmarc.red.example.net")  # as DNS answers
    assert asked(zone) == (ReportTo(OUTSIDE),)


def test_what_dns_cannot_tell_now_is_asked_again():
    resolver = ZoneResolver(
        {"_dmarc.example.org": {"rcode": "SERVFAIL"}, "_smtp._tls.example.org": {"rcode": "SERVFAIL"}}
    )
    with pytest.raises(AskAgain):
        run(dmarc_destinations("example.org", resolver, FakeClock()))
    with pytest.raises(AskAgain):
        run(tls_destinations("example.org", resolver))


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["v=TLSRPTv1; rua=mailto:tls@other.example"], (ReportTo(Mailbox("tls", "other.example")),)),
        (
            ["v=TLSRPTv1;rua=https://a.example/x,mailto:tls@other.example"],
            (ReportTo(Mailbox("tls", "other.example")), PostTo("https://a.example/x")),
        ),
        (["v=TLSRPTv1; rua=https://a.example:8443/x?y"], (PostTo("https://a.example:8443/x?y"),)),
        (["v=TLSRPTv1; rua=http://a.example/x"], ()),
        (["v=TLSRPTv1; rua=https://localhost/x"], ()),
        (["v=TLSRPTv1; rua=https://user:secret@a.example/x"], ()),
        (["v=TLSRPTv1; rua=https://a.example:x/"], ()),
        (["v=TLSRPTv1; rua=https://a.example/a b"], ()),
        (["v=TLSRPTv1; rua=mailto:a@b.example", "v=TLSRPTv1; rua=mailto:a@b.example"], ()),
        (["v=TLSRPTv2; rua=mailto:a@b.example"], ()),
        (["v=TLSRPTv1"], ()),
        ([], ()),
    ],
)
def test_who_gets_reports_about_tls(texts, expected):
    resolver = ZoneResolver({"_smtp._tls.example.org": {"TXT": texts}})
    assert run(tls_destinations("example.org", resolver)) == expected


def test_a_limit_is_kept():
    assert ReportTo(RUA, 100).takes(100)
    assert not ReportTo(RUA, 100).takes(101)
    assert ReportTo(RUA).takes(10**9)
