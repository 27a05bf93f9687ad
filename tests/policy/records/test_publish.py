"""The records that follow from a server's facts, and that a zone file's reader understands them."""

from dataclasses import replace
from ipaddress import ip_address

import dns.rdatatype
import dns.zone
import pytest

from mailserver.mail.address import Mailbox
from mailserver.policy.records.publish import dmarc_next_steps, records_for, remarks_for
from mailserver.policy.records.values import Need, Service, Site, Topic, quoted, unquoted, zone_text
from tests.fakes.published import ED_KEY, IPV4, IPV6, RSA_KEY, SITE, SPKI

BARE = Site("mail.example.org", ("example.org",), (IPV4,))


def lines(site):
    return [f"{one.name} {one.kind} {one.value}" for one in records_for(site)]


def test_the_least_that_a_server_needs():
    assert lines(BARE) == [
        "example.org MX 10 mail.example.org.",
        "mail.example.org A 192.0.2.7",
        "7.2.0.192.in-addr.arpa PTR mail.example.org.",
        'example.org TXT "v=spf1 ip4:192.0.2.7 -all"',
        'mail.example.org TXT "v=spf1 ip4:192.0.2.7 -all"',
        '_dmarc.example.org TXT "v=DMARC1; p=none; rua=mailto:postmaster@example.org"',
        '_smtp._tls.example.org TXT "v=TLSRPTv1; rua=mailto:postmaster@example.org"',
    ]


def test_all_that_it_can_have():
    site = replace(SITE, services=(Service("submissions", 465), Service("pop3s", 1995)))
    assert lines(site)[2:] == [
        "mail.example.org AAAA 2001:db8::7",
        "7.2.0.192.in-addr.arpa PTR mail.example.org.",
        f"{IPV6.reverse_pointer} PTR mail.example.org.",
        'example.org TXT "v=spf1 ip4:192.0.2.7 ip6:2001:db8::7 -all"',
        'mail.example.org TXT "v=spf1 ip4:192.0.2.7 ip6:2001:db8::7 -all"',
        f"r202611._domainkey.example.org TXT {quoted(RSA_KEY.record)}",
        f"e202611._domainkey.example.org TXT {quoted(ED_KEY.record)}",
        '_dmarc.example.org TXT "v=DMARC1; p=none; rua=mailto:postmaster@example.org"',
        '_mta-sts.example.org TXT "v=STSv1; id=20261125T120000"',
        "mta-sts.example.org CNAME mail.example.org.",
        '_smtp._tls.example.org TXT "v=TLSRPTv1; rua=mailto:postmaster@example.org"',
        f"_25._tcp.mail.example.org TLSA 3 1 1 {SPKI}",
        "_submissions._tcp.example.org SRV 0 1 465 mail.example.org.",
        "_pop3s._tcp.example.org SRV 0 1 1995 mail.example.org.",
        "_imaps._tcp.example.org SRV 0 0 0 .",
        "_imap._tcp.example.org SRV 0 0 0 .",
        "autoconfig.example.org CNAME mail.example.org.",
        "_autodiscover._tcp.example.org SRV 0 0 443 mail.example.org.",
        'mail.example.org CAA 0 issue "letsencrypt.org"',
    ]


def of(site, topic):
    return [one for one in records_for(site) if one.topic is topic]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "v=spf1 ip4:192.0.2.7 ip6:2001:db8::7 -all"),
        ({"addresses": ()}, "v=spf1 a:mail.example.org -all"),
        ({"sources": (ip_address("192.0.2.99"),)}, "v=spf1 ip4:192.0.2.99 -all"),
        ({"spf_include": ("news.example",)}, "v=spf1 ip4:192.0.2.7 ip6:2001:db8::7 include:news.example -all"),
        ({"smarthost": "smtp.isp.example"}, "v=spf1 ip4:192.0.2.7 ip6:2001:db8::7 ~all"),
        (
            {"smarthost": "smtp.isp.example", "sends_directly": False, "spf_include": ("isp.example",)},
            "v=spf1 ip4:192.0.2.7 ip6:2001:db8::7 include:isp.example -all",
        ),
    ],
)
def test_who_may_send(changes, expected):
    [record] = of(replace(SITE, **changes), Topic.SPF)
    assert record.text == expected


def test_who_sends_through_a_smarthost_alone_needs_no_reverse_name():
    site = replace(SITE, smarthost="smtp.isp.example", sends_directly=False)
    assert of(site, Topic.REVERSE) == []
    assert [one.text for one in of(site, Topic.HELO_SPF)] == ["v=spf1 -all"]
    assert len(of(replace(site, sends_directly=True), Topic.REVERSE)) == 2


def test_reverse_names_are_for_what_others_see():
    site = replace(SITE, sources=(ip_address("192.0.2.99"),), helo="out.example.org")
    assert [(one.name, one.value, one.need) for one in of(site, Topic.REVERSE)] == [
        ("99.2.0.192.in-addr.arpa", "out.example.org.", Need.ASK)
    ]
    assert [(one.name, one.text) for one in of(site, Topic.HELO_SPF)] == [
        ("out.example.org", "v=spf1 ip4:192.0.2.99 -all")
    ]


def test_a_host_name_that_is_a_domain_has_one_spf_record_and_no_caa():
    site = replace(SITE, hostname="example.org")
    assert of(site, Topic.HELO_SPF) == of(site, Topic.CAA) == []
    assert len(of(site, Topic.SPF)) == 1


def test_ipv6_alone_is_required_and_beside_ipv4_recommended():
    assert [one.need for one in of(replace(SITE, addresses=(IPV6,)), Topic.ADDRESS)] == [Need.REQUIRED]
    assert [one.need for one in of(SITE, Topic.ADDRESS)] == [Need.REQUIRED, Need.RECOMMENDED]


def test_a_retiring_key_is_no_longer_required():
    keys = (RSA_KEY.retiring(5.0, 60.0), ED_KEY)
    assert [one.need for one in of(replace(SITE, dkim=keys), Topic.DKIM)] == [Need.RECOMMENDED, Need.REQUIRED]


def test_every_domain_has_its_own_and_nothing_stands_there_twice():
    site = replace(SITE, domains=("example.org", "example.net"))
    records = records_for(site)
    assert len({(one.name, one.kind, one.value) for one in records}) == len(records)
    for topic in (Topic.MX, Topic.SPF, Topic.DMARC, Topic.TLSRPT):
        assert len(of(site, topic)) == 2
    assert len(of(site, Topic.ADDRESS)) == 2
    assert [one.name for one in of(site, Topic.MTA_STS)] == ["_mta-sts.example.org"]


def test_reports_to_a_chosen_mailbox():
    to = Mailbox("a+b,c!d;e", "example.org")
    site = replace(SITE, domains=("example.org", "mail.example.org", "example.net"), reports_to=to, tls_reports_to=to)
    assert of(site, Topic.DMARC)[0].text == "v=DMARC1; p=none; rua=mailto:a+b%2Cc%21d%3Be@example.org"
    assert of(site, Topic.TLSRPT)[0].text == "v=TLSRPTv1; rua=mailto:a+b%2Cc%21d%3Be@example.org"
    assert [one.name for one in of(site, Topic.DMARC_REPORTS)] == ["example.net._report._dmarc.example.org"]
    elsewhere = of(replace(site, reports_to=Mailbox("x", "report.example")), Topic.DMARC_REPORTS)
    assert [one.name for one in elsewhere] == [
        f"{domain}._report._dmarc.report.example" for domain in ("example.org", "mail.example.org", "example.net")
    ]
    assert all("only whoever has that domain" in one.purpose for one in elsewhere)


def test_a_policy_that_another_server_shows_needs_its_record_alone():
    site = replace(SITE, serves_policy=False)
    assert "mta-sts.example.org" not in [one.name for one in of(site, Topic.WEB_HOST)]
    assert len(of(site, Topic.MTA_STS)) == 1


def test_a_web_host_that_is_the_server_itself_needs_no_alias():
    site = replace(SITE, hostname="autoconfig.example.org")
    assert "autoconfig.example.org" not in [one.name for one in of(site, Topic.WEB_HOST)]


def test_every_purpose_is_one_plain_line():
    for one in records_for(SITE):
        assert one.purpose.isascii()
        assert one.purpose.isprintable()
        assert 20 < len(one.purpose) <= 120, one.purpose


# --- remarks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ""),
        ({"dkim": (RSA_KEY.retiring(5.0, 60.0),)}, "mailserver dkim create example.org"),
        ({"addresses": ()}, "public addresses of this server are not known"),
        ({"smarthost": "smtp.isp.example"}, "ask its operator which SPF record"),
    ],
)
def test_what_the_owner_must_know_besides(changes, expected):
    remarks = remarks_for(replace(SITE, **changes))
    assert len(remarks) == bool(expected)
    assert all(expected in one for one in remarks)


def test_how_to_go_on_with_dmarc():
    assert "p=quarantine" in dmarc_next_steps("example.org")


# --- the zone file ----------------------------------------------------------------------------------------------------


def test_a_zone_reader_understands_every_record():
    """Names outside of the zone, such as reverse names, come with it: the root is the origin here."""
    text = zone_text(records_for(SITE), remarks_for(BARE))
    zone = dns.zone.from_text(text, origin=".", relativize=False, check_origin=False)
    read = {
        (name.to_text(omit_final_dot=True), dns.rdatatype.to_text(rdataset.rdtype), rdata.to_text())
        for name, rdataset in zone.iterate_rdatasets()
        for rdata in rdataset
    }
    assert read == {(one.name, one.kind, one.value) for one in records_for(SITE)}


@pytest.mark.parametrize("text", ["", "a", 'say "yes" \\ no', "x" * 255, "x" * 256, "p=" + "A" * 1000])
def test_texts_in_strings_are_whole_and_short_enough(text):
    rdata = dns.rdata.from_text("IN", "TXT", quoted(text))
    assert b"".join(rdata.strings).decode() == text == unquoted(quoted(text))
    assert all(len(part) <= 255 for part in rdata.strings)


@pytest.mark.parametrize(
    ("helo", "is_there"),
    [("", True), ("out.example.org", True), ("static-7.isp.example", False)],
)
def test_nothing_is_to_be_published_at_a_name_that_is_the_providers(helo, is_there):
    found = of(replace(BARE, helo=helo), Topic.HELO_SPF)
    assert bool(found) is is_there
    # A host name is the owner's own, wherever it is.
    assert of(replace(BARE, hostname="mx.example.net", helo=""), Topic.HELO_SPF)
