"""Two domains that `mailserver setup` put on a made-up internet: records, mail both ways, and what a look finds.

Run with `make internet`, after `tests/peers/fetch_peers.sh`, which gets the authority.
"""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.internet.houses import Internet

ORG, FAR = "example.org", "far.example"


@pytest.fixture(scope="module")
def internet(tmp_path_factory):
    with Internet(tmp_path_factory.mktemp("internet")) as internet:
        with ThreadPoolExecutor(2) as both:
            org = both.submit(internet.house, ORG, "alice", "127.0.0.1")
            far = both.submit(internet.house, FAR, "bob", "127.0.0.2")
        internet.org, internet.far = org.result(), far.result()
        internet.publish()
        internet.org.start()
        internet.far.start()
        internet.org.wait_for_log("certificate-obtained")
        # With its certificate one record more is known.
        internet.org.records = internet.org.setup()["records"]
        internet.publish()
        yield internet


def findings(house, status):
    """What `mailserver dns --check` says."""
    return json.loads(house.cli("dns", "--check", "--json", status=status))["records"]


def test_setup_printed_all_that_mail_needs(internet):
    kinds = {(one["name"], one["type"]) for one in internet.org.records}
    assert kinds >= {
        (ORG, "MX"),
        (f"mail.{ORG}", "A"),
        ("1.0.0.127.in-addr.arpa", "PTR"),
        (ORG, "TXT"),
        (f"_dmarc.{ORG}", "TXT"),
        (f"_smtp._tls.{ORG}", "TXT"),
        (f"_mta-sts.{ORG}", "TXT"),
        (f"mta-sts.{ORG}", "CNAME"),
        (f"autoconfig.{ORG}", "CNAME"),
        (f"_25._tcp.mail.{ORG}", "TLSA"),
    }
    assert len([one for one in kinds if one[0].endswith(f"_domainkey.{ORG}")]) == 2


def test_every_record_is_seen_right(internet):
    for house in (internet.org, internet.far):
        wrong = [one for one in findings(house, 0) if one["verdict"] not in ("right",)]
        assert wrong == []


def test_mail_flows_both_ways_and_is_believed(internet):
    internet.org.wait_for_log("dkim-key")
    internet.far.wait_for_log("dkim-key")
    internet.org.send(internet.far.mail_address, "question")
    question = internet.far.received("question")
    internet.far.send(internet.org.mail_address, "answer")
    answer = internet.org.received("answer")
    for content, domain in ((question, ORG), (answer, FAR)):
        results = content.partition(b"Authentication-Results:")[2].partition(b"\nReceived")[0]
        assert results.count(b"dkim=pass") == 2, content.decode()
        assert b"spf=pass" in results
        assert b"dmarc=pass" in results and domain.encode() in results
    internet.far.wait_for_log(f"sts-policy domain={ORG} mode=testing")
    assert "tls-trial-failed" not in internet.far.log


def test_setup_again_changes_nothing(internet):
    before = internet.org.config_path.read_text()
    plan = internet.org.setup()
    assert plan["changes"] == []
    assert internet.org.config_path.read_text() == before
    assert plan["records"] == internet.org.records


def test_the_doctor_finds_nothing_that_fails(internet):
    """What a lab has not, such as port 25 outside, is not looked at."""
    found = json.loads(internet.org.cli("doctor", "--json"))
    assert [one for one in found if one["verdict"] == "fail"] == []
    passed = {one["name"] for one in found if one["verdict"] == "pass"}
    assert passed >= {"hostname", "names", "dkim", "dns", "mta-sts", "certificate", "listeners"}


def test_each_record_broken_in_turn_is_named(internet):
    """Missing, one after the other; that record is named and no other. What mail needs, the doctor names too."""
    # Addresses, names and keys have checks of their own.
    only = [word for name in ("dns", "hostname", "names", "dkim") for word in ("--only", name)]
    org = internet.org
    with ThreadPoolExecutor(2) as both:
        for record in org.records:
            name, kind = record["name"], record["type"]
            internet.with_changed(name, kind)
            is_needed = record["need"] in ("required", "ask")
            status = 1 if is_needed else 0
            checking = both.submit(findings, org, status)
            looking = both.submit(org.cli, "doctor", "--json", *only, status=1) if is_needed else None
            missing = [one for one in checking.result() if one["verdict"] == "missing"]
            assert {(one["name"], one["type"]) for one in missing} == {(name, kind)}, record
            assert record["zone_line"] in [one["publish"] for one in missing]
            if looking is not None:
                found = json.loads(looking.result())
                failed = [one for one in found if one["verdict"] == "fail" and one["remedy"]]
                about = org.address if kind == "PTR" else name
                assert any(about in one["finding"] for one in failed), found
    internet.restore()


@pytest.mark.parametrize(
    ("name", "kind", "value", "words"),
    [
        (ORG, "MX", [10, "mail.far.example"], "mail.far.example"),
        (f"mail.{ORG}", "A", "127.0.0.2", "127.0.0.2"),
        (ORG, "TXT", "v=spf1 ip4:192.0.2.1 -all", "192.0.2.1"),
    ],
)
def test_a_wrong_record_is_named_with_what_to_publish(internet, name, kind, value, words):
    internet.with_changed(name, kind, value)
    wrong = [one for one in findings(internet.org, 1) if one["verdict"] == "wrong"]
    internet.restore()
    (record,) = [one for one in internet.org.records if (one["name"], one["type"]) == (name, kind)]
    named = [one for one in wrong if (one["name"], one["type"]) == (name, kind)]
    assert named and named[0]["publish"], wrong
    assert words in str(named[0]["found"])
    assert record["value"].split()[-1] in named[0]["publish"] or kind == "TXT"
