"""Each record broken in turn is named with the line to publish; what only looks different is right."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailserver.mail.address import Mailbox
from mailserver.mail.dns import FoundRecords, MxRecord
from mailserver.policy.records.check import check_record
from mailserver.policy.records.findings import Verdict
from mailserver.policy.records.publish import records_for
from mailserver.policy.records.values import Need, Topic
from tests.fakes.awaiting import run
from tests.fakes.clock import FakeClock
from tests.fakes.published import DIFFERENT, IPV4, IPV6, MISSING, OUR_SPF, SITE, WRONG, at, changed
from tests.fakes.zone import ZoneResolver, zone_of

RECORDS = records_for(SITE)
ZONE = zone_of(RECORDS)


def checked(zone, site=SITE, records=None):
    resolver = ZoneResolver(zone)
    return [run(check_record(one, site, resolver, FakeClock())) for one in records or records_for(site)]


def of_record(findings, record):
    found = [one for one in findings if (one.record.name, one.record.kind) == record]
    assert len(found) == 1, record
    return found[0]


def labels(changes):
    return [change.label for change in changes]


def test_everything_that_is_printed_is_right_when_it_is_published():
    findings = checked(ZONE)
    assert len(findings) == len(RECORDS) > 20
    assert [one for one in findings if one.verdict is not Verdict.RIGHT] == []
    assert all(one.publish == "" for one in findings)


@pytest.mark.parametrize("change", MISSING, ids=labels(MISSING))
def test_a_record_that_is_not_there_is_missing(change):
    finding = of_record(checked(change.do(ZONE)), change.record)
    assert finding.verdict is Verdict.MISSING
    assert change.said in finding.reason
    assert finding.publish == finding.record.zone_line
    assert finding.is_failure == (finding.record.need in (Need.REQUIRED, Need.ASK))


@pytest.mark.parametrize("change", WRONG, ids=labels(WRONG))
def test_a_record_that_is_wrong_is_told_with_what_is_there_and_what_to_publish(change):
    finding = of_record(checked(change.do(ZONE)), change.record)
    assert finding.verdict is Verdict.WRONG
    assert change.said in finding.reason
    assert finding.found
    value = change.publish or finding.record.value
    assert finding.publish == f"{finding.record.name}. 3600 IN {finding.record.kind} {value}"


@pytest.mark.parametrize("change", DIFFERENT, ids=labels(DIFFERENT))
def test_what_is_written_differently_and_means_the_same_is_right(change):
    finding = of_record(checked(change.do(ZONE)), change.record)
    assert (finding.verdict, finding.publish) == (Verdict.RIGHT, "")
    assert change.said in finding.reason
    assert bool(change.said) or finding.reason == ""


@pytest.mark.parametrize("change", [*MISSING, *WRONG], ids=labels([*MISSING, *WRONG]))
def test_what_is_told_to_be_published_mends_it(change):
    """Every line taken literally: one record replaces those of its name and type."""
    zone = change.do(ZONE)
    for finding in checked(zone):
        if finding.publish:
            name, _, _, kind, value = finding.publish.split(" ", 4)
            zone = changed(zone, name[:-1], CNAME=None, A=None) if kind == "CNAME" else zone
            text = zone_of((replace(finding.record, name=name[:-1], kind=kind, value=value),))[name[:-1]][kind]
            zone = changed(zone, name[:-1], **{kind: text})
    finding = of_record(checked(zone), change.record)
    assert finding.verdict is Verdict.RIGHT, finding


@pytest.mark.parametrize("record", RECORDS, ids=lambda one: f"{one.topic.value}-{one.name}-{one.kind}")
@pytest.mark.parametrize("failing", [{"rcode": "SERVFAIL"}, {"silent": True}], ids=["servfail", "silence"])
def test_what_cannot_be_looked_up_is_never_missing(record, failing):
    zone = {**ZONE, record.name: failing}
    [finding] = checked(zone, records=[record])
    assert finding.verdict is Verdict.UNKNOWN
    assert "could not be looked up" in finding.reason
    assert not finding.is_failure


def test_trouble_behind_a_record_is_not_the_records_fault():
    zone = changed(ZONE, "example.org", MX=[[10, "mx.other.example"]])
    zone["mx.other.example"] = {"rcode": "SERVFAIL"}
    assert of_record(checked(zone), ("example.org", "MX")).verdict is Verdict.UNKNOWN
    zone = changed(ZONE, "example.org", TXT=["v=spf1 include:other.example -all"])
    zone["other.example"] = {"rcode": "SERVFAIL"}
    assert of_record(checked(zone), ("example.org", "TXT")).verdict is Verdict.UNKNOWN


def test_a_host_name_that_is_an_alias_is_told_with_its_address():
    zone = changed(ZONE, "mail.example.org", gone=True)
    zone["mail.example.org"] = {"CNAME": ["host.isp.example"]}
    zone["host.isp.example"] = {"A": [str(IPV4)], "AAAA": [str(IPV6)]}
    finding = of_record(checked(zone), ("mail.example.org", "A"))
    assert finding.verdict is Verdict.WRONG
    assert "an alias (CNAME) of host.isp.example" in finding.reason
    assert finding.publish == "mail.example.org. 3600 IN A 192.0.2.7"
    assert of_record(checked(zone), ("example.org", "MX")).verdict is Verdict.RIGHT


def test_a_reverse_name_that_is_ours_but_leads_elsewhere_asks_for_the_address():
    zone = changed(ZONE, "mail.example.org", A=["192.0.2.99"])
    finding = of_record(checked(zone), (IPV4.reverse_pointer, "PTR"))
    assert finding.verdict is Verdict.WRONG
    assert finding.publish == "mail.example.org. 3600 IN A 192.0.2.7"


def test_an_address_of_a_family_that_the_server_lacks_is_told():
    """A forgotten AAAA record."""
    site = replace(SITE, addresses=(IPV4,))
    zone = changed(zone_of(records_for(site)), "mail.example.org", AAAA=[str(IPV6)])
    finding = of_record(checked(zone, site), ("mail.example.org", "A"))
    assert finding.verdict is Verdict.RIGHT
    assert "also leads to 2001:db8::7, which is not known to be here" in finding.reason


def test_whether_a_hash_is_worth_publishing_is_told():
    zone = changed(ZONE, "_25._tcp.mail.example.org", gone=True)
    finding = of_record(checked(zone), ("_25._tcp.mail.example.org", "TLSA"))
    assert "of use only in a signed zone" in finding.reason
    zone = changed(zone, "mail.example.org", signed=True)
    finding = of_record(checked(zone), ("_25._tcp.mail.example.org", "TLSA"))
    assert "it would count" in finding.reason


def test_an_old_hash_beside_the_new_one_is_only_missing_the_next():
    site = replace(SITE, tlsa=(*SITE.tlsa, "77" * 32))
    findings = [one for one in checked(ZONE, site) if one.record.topic is Topic.TLSA]
    assert [one.verdict for one in findings] == [Verdict.RIGHT, Verdict.MISSING]
    assert not any(one.is_failure for one in findings)


@pytest.mark.parametrize("label", ["tlsa-of-an-old-key", "helo-spf-refuses", "srv-elsewhere", "imap", "caa-other"])
def test_what_does_harm_is_a_failure_though_the_record_may_be_left_out(label):
    change = next(one for one in WRONG if one.label == label)
    finding = of_record(checked(change.do(ZONE)), change.record)
    assert finding.record.need not in (Need.REQUIRED, Need.ASK)
    assert finding.is_failure


# --- others who send for us -------------------------------------------------------------------------------------------

ISP = replace(SITE, smarthost="smtp.isp.example", sends_directly=False, spf_include=("spf.isp.example",))


@pytest.mark.parametrize(
    ("text", "below", "expected"),
    [
        ("v=spf1 include:spf.isp.example -all", None, Verdict.RIGHT),
        ("v=spf1 include:SPF.isp.example. -all", None, Verdict.RIGHT),
        ("v=spf1 redirect=all.example", "v=spf1 ip4:198.51.100.1 include:spf.isp.example -all", Verdict.RIGHT),
        ("v=spf1 include:all.example -all", "v=spf1 redirect=spf.isp.example", Verdict.RIGHT),
        ("v=spf1 include:all.example -all", "v=spf1 include:all.example -all", Verdict.WRONG),
        ("v=spf1 -include:spf.isp.example -all", None, Verdict.WRONG),
        (OUR_SPF, None, Verdict.WRONG),
    ],
)
def test_who_sends_for_us_must_be_named_somewhere(text, below, expected):
    zone = changed(zone_of(records_for(ISP)), "example.org", TXT=[text])
    zone["spf.isp.example"] = {"TXT": ["v=spf1 ip4:198.51.100.0/24 -all"]}
    zone["all.example"] = {"TXT": [below] if below else ["none"]}
    finding = of_record(checked(zone, ISP), ("example.org", "TXT"))
    assert finding.verdict is expected
    if expected is Verdict.WRONG:
        assert "does not name spf.isp.example" in finding.reason
        assert finding.publish.endswith(f'"v=spf1 include:spf.isp.example {text[7:]}"')


def test_a_smarthost_that_nobody_named_is_a_remark():
    site = replace(ISP, spf_include=())
    finding = of_record(checked(zone_of(records_for(site)), site), ("example.org", "TXT"))
    assert finding.verdict is Verdict.RIGHT
    assert "smtp.isp.example" in finding.reason


def test_reports_to_another_domain_of_ours_need_its_consent():
    site = replace(SITE, domains=("example.org", "example.net"), reports_to=Mailbox("dmarc", "example.org"))
    record = next(one for one in records_for(site) if one.topic is Topic.DMARC_REPORTS)
    assert record.name == "example.net._report._dmarc.example.org"
    zone = zone_of(records_for(site))
    assert of_record(checked(zone, site), (record.name, "TXT")).verdict is Verdict.RIGHT
    del zone[record.name]
    assert of_record(checked(zone, site), (record.name, "TXT")).verdict is Verdict.MISSING


def test_what_strangers_publish_is_shown_without_control_characters():
    zone = at("_dmarc.example.org", TXT=["v=DMARC2 dmarc \x1b[31m\u0085"])(ZONE)
    finding = of_record(checked(zone), ("_dmarc.example.org", "TXT"))
    assert all(text.isprintable() for text in (*finding.found, finding.reason))


def test_trouble_with_the_mail_host_is_no_verdict_about_services():
    zone = {**changed(ZONE, "_pop3s._tcp.example.org", SRV=["0 1 995 pop.example.org."])}
    zone["pop.example.org"] = {"rcode": "SERVFAIL"}
    finding = of_record(checked(zone), ("_pop3s._tcp.example.org", "SRV"))
    assert finding.verdict is Verdict.UNKNOWN
    assert "SERVFAIL" in finding.reason


# --- whatever strangers publish ---------------------------------------------------------------------------------------

_PARTS = (
    "v=spf1 v=DMARC1; p= none rua=mailto: a@b.example v=STSv1; id= v=TLSRPTv1; v=DKIM1; k=rsa; +all -all include: "
    'redirect= %{d} %{l} example.org /33 ; " \\ \\# :: ip4: exp= \x00 \xff'
)
_WORDS = st.sampled_from([*_PARTS.split(" "), " ", "0 issue", "3 1 1", "0 0 0 .", "10 ."])
_TEXTS = st.lists(st.lists(_WORDS, max_size=8).map("".join), min_size=1, max_size=4)
_HOSTS = st.sampled_from(["", "mail.example.org", "x.example", "a" * 70 + ".example", "-", "example.org"])


class Anything:
    """Answers whatever it is given to every question."""

    def __init__(self, texts, hosts, addresses):
        self.texts, self.hosts, self.found = texts, hosts, addresses

    async def text(self, name):
        return tuple(self.texts)

    async def records(self, name, kind):
        return FoundRecords(tuple(self.texts), name, True)

    async def mx(self, domain):
        return tuple(MxRecord(number, host) for number, host in enumerate(self.hosts))

    async def addresses(self, host, *, ipv4=True, ipv6=True):
        return tuple(one for one in self.found if (one.version == 4 and ipv4) or (one.version == 6 and ipv6))

    async def pointer(self, address):
        return tuple(self.hosts)


@given(
    record=st.sampled_from(RECORDS),
    texts=_TEXTS,
    hosts=st.lists(_HOSTS, min_size=1, max_size=30),
    addresses=st.lists(st.ip_addresses(), min_size=1, max_size=3),
)
@settings(max_examples=200, deadline=None)
def test_whatever_is_published_gives_a_finding_that_can_be_shown(record, texts, hosts, addresses):
    finding = run(check_record(record, SITE, Anything(texts, hosts, addresses), FakeClock()))
    assert finding.record == record
    assert all(part.isprintable() for part in (*finding.found, finding.reason, finding.publish))
    assert len(finding.reason) < 4000
    assert bool(finding.publish) == finding.is_trouble


def test_whether_a_host_is_this_server_cannot_be_told_while_its_own_name_cannot_be_looked_up():
    """Behind NAT the addresses of the host name are all that is known of this server."""
    site = replace(SITE, addresses=())
    zone = changed(ZONE, "example.org", MX=[[10, "mx.example.org"]])
    zone["mx.example.org"] = {"A": [str(IPV4)]}
    zone["autoconfig.example.org"] = {"A": [str(IPV4)]}
    assert of_record(checked(zone, site), ("example.org", "MX")).verdict is Verdict.RIGHT
    zone["mail.example.org"] = {"rcode": "SERVFAIL"}
    findings = checked(zone, site)
    assert of_record(findings, ("example.org", "MX")).verdict is Verdict.UNKNOWN
    assert of_record(findings, ("autoconfig.example.org", "CNAME")).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (["3 1 2 " + "ab" * 64], Verdict.RIGHT),
        (["3 1 1 " + "ab" * 32, "3 0 1 " + "cd" * 32], Verdict.RIGHT),
        (["2 1 1 " + "ab" * 32, "3 1 1 " + "cd" * 32], Verdict.RIGHT),
        (["3 1 1 " + "ab" * 32], Verdict.WRONG),
        # Usages 0 and 1 are unusable for mail: it is as if nothing were there.
        (["1 1 1 " + "ab" * 32], Verdict.MISSING),
    ],
)
def test_hashes_of_another_form_are_not_called_wrong(found, expected):
    zone = changed(ZONE, "_25._tcp.mail.example.org", TLSA=found)
    finding = of_record(checked(zone), ("_25._tcp.mail.example.org", "TLSA"))
    assert finding.verdict is expected
    assert finding.is_failure == (expected is Verdict.WRONG)


OTHERS = {f"i{number}.example": {"TXT": ["v=spf1 -all"]} for number in range(12)}


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        (" ".join(f"include:{name}" for name in OTHERS) + " -all", "cannot evaluate it to its end"),
        ("include:nowhere.example -all", "cannot evaluate it to its end"),
        ("include:open.example -all", "everybody"),
        ("redirect=open.example", "everybody"),
        ("ip4:0.0.0.0/1 ip4:128.0.0.0/1 -all", "everybody"),
    ],
)
def test_an_spf_record_is_read_to_its_end_and_not_only_until_it_names_us(terms, said):
    zone = changed(ZONE, "example.org", TXT=[f"{OUR_SPF.rpartition(' ')[0]} {terms}"])
    zone |= OTHERS | {"open.example": {"TXT": ["v=spf1 +all"]}}
    finding = of_record(checked(zone), ("example.org", "TXT"))
    assert (finding.verdict, finding.is_failure) == (Verdict.WRONG, True)
    assert said in finding.reason


def test_what_strangers_make_of_an_spf_record_may_stay_unknown():
    zone = changed(ZONE, "example.org", TXT=[f"{OUR_SPF.rpartition(' ')[0]} include:silent.example -all"])
    zone["silent.example"] = {"rcode": "SERVFAIL"}
    assert of_record(checked(zone), ("example.org", "TXT")).verdict is Verdict.RIGHT


def test_a_null_mx_beside_a_real_one_is_wrong():
    zone = changed(ZONE, "example.org", MX=[[0, "."], [10, "mail.example.org"]])
    finding = of_record(checked(zone), ("example.org", "MX"))
    assert (finding.verdict, finding.is_failure) == (Verdict.WRONG, True)
    assert "a null MX" in finding.reason
