"""The facts that the records follow from, out of a configuration and a state folder."""

from ipaddress import ip_address

import pytest

from mailserver.config import load_config
from mailserver.net.listener_text import check_listener
from mailserver.net.tls import ensure_self_signed
from mailserver.own_records import own_facts
from mailserver.policy.records.publish import spf_text
from mailserver.policy.records.values import Service
from mailserver.store.certificates import read_summary
from mailserver.store.dkim_keys import DkimKeyFolder

IPV4, IPV6 = ip_address("192.0.2.7"), ip_address("2001:db8::7")
NOW = 1_790_000_000.0
HEAD = """\
hostname = "mail.example.org"
domains = ["example.org", "example.net"]
postmaster = "alice@example.org"
"""


@pytest.fixture
def facts(tmp_path):
    """Reads them with more lines of configuration."""

    def read(text="", addresses=(IPV4, IPV6)):
        path = tmp_path / "mailserver.toml"
        path.write_text(f'{HEAD}[storage]\nmaildirs = "mail"\nstate = "state"\n{text}\n')
        return own_facts(load_config(path, check_listener), addresses, NOW)

    return read


def test_a_plain_configuration(facts):
    site = facts().site
    assert (site.hostname, site.domains, site.said_name) == (
        "mail.example.org",
        ("example.org", "example.net"),
        "mail.example.org",
    )
    assert site.addresses == site.senders == (IPV4, IPV6)
    assert site.sends_directly
    assert not site.smarthost
    assert site.services == (
        Service("submissions", 465),
        Service("submission", 587),
        Service("pop3s", 995),
        Service("pop3", 110),
    )
    assert not site.has_autoconfig
    assert (site.sts_ids, site.tlsa, site.dkim, site.caa_issuer) == ({}, (), (), "")


@pytest.mark.parametrize(
    ("text", "smarthost", "sends_directly"),
    [
        ('[relay]\nsmarthost = "smtp.isp.example:587"', "smtp.isp.example", False),
        ('[relay]\nsmarthost = "smtp.isp.example:587"\nsmarthost_after = 2', "smtp.isp.example", True),
        ('[relay]\nsmarthost = "smtp.isp.example:587"\nsmarthost_domains = ["a.example"]', "smtp.isp.example", True),
    ],
)
def test_a_smarthost(facts, text, smarthost, sends_directly):
    site = facts(text).site
    assert (site.smarthost, site.sends_directly) == (smarthost, sends_directly)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[relay]\naddress_family = "ipv4"', (IPV4,)),
        ('[relay]\naddress_family = "ipv6"', (IPV6,)),
        ('[relay]\nsource_address = "198.51.100.1"', (IPV4, IPV6)),  # a documentation range, which is not public
        ('[relay]\nsource_address = "9.9.9.9"', (ip_address("9.9.9.9"), IPV6)),
        ('[relay]\nsource_address = "10.0.0.1"', (IPV4, IPV6)),
    ],
)
def test_where_mail_comes_from(facts, text, expected):
    assert facts(text).site.senders == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("submission = []\npop3 = []\npop3s = []", [("submissions", 465)]),
        ('submissions = ["tcp:2465"]\nsubmission = []\npop3 = []\npop3s = []', [("submissions", 2465)]),
        ('submissions = ["haproxy:tcp:2465:interface=127.0.0.1"]\nsubmission = []\npop3 = []\npop3s = []',
         [("submissions", 465)]),
        ('submissions = ["systemd:domain=INET6:index=0"]\nsubmission = []\npop3 = []\npop3s = []',
         [("submissions", 465)]),
        ('submissions = ["tcp:2465:interface=127.0.0.1", "tcp:3465:interface=192.0.2.7"]\nsubmission = []\n'
         'pop3 = ["unix:/run/pop3.sock"]\npop3s = []', [("submissions", 3465)]),
    ],
)  # fmt: skip
def test_what_others_can_reach(facts, text, expected):
    assert facts(f"[listen]\n{text}").site.services == tuple(Service(*one) for one in expected)


def test_where_reports_go(facts):
    assert (facts().site.reports_to, facts().site.tls_reports_to) == (None, None)
    site = facts('[reports]\ndmarc_address = "d@example.org"\ntlsrpt_address = "t@example.org"').site
    assert (str(site.reports_to), str(site.tls_reports_to)) == ("d@example.org", "t@example.org")


def test_our_own_policy_is_the_same_for_all_domains(facts):
    site = facts('[mta_sts]\nmode = "testing"\n[listen]\nhttps = ["tcp:8443"]').site
    [sts_id] = set(site.sts_ids.values())
    assert set(site.sts_ids) == set(site.domains)
    assert site.serves_policy
    assert site.has_autoconfig
    other = facts('[mta_sts]\nmode = "enforce"').site
    assert sts_id not in other.sts_ids.values()
    assert not other.serves_policy


def test_keys_that_have_to_be_in_dns(facts, tmp_path):
    folder = DkimKeyFolder(tmp_path / "state")
    with folder.changing():
        folder.make("example.org", "e1", "ed25519-sha256", NOW)
        key = folder.make("example.org", "e2", "ed25519-sha256", NOW)
        folder.save_all([key.retiring(NOW - 9e6, 60.0)])
    (tmp_path / "state" / "dkim" / "example.net").mkdir()
    (tmp_path / "state" / "dkim" / "example.net" / "bad.json").write_text("no")
    found = facts()
    assert [key.selector for key in found.site.dkim] == ["e1"]
    assert len(found.troubles) == 1
    assert "bad.json" in found.troubles[0]


def test_the_hash_of_a_key_that_stays(facts, tmp_path):
    own = ensure_self_signed(tmp_path / "state" / "tls", "mail.example.org", NOW)
    spki = read_summary(own.certificate).spki_sha256
    assert facts().site.tlsa == (spki,)
    assert facts('[dns]\ntlsa = "off"').site.tlsa == ()
    mine = f'[tls]\ncertificate = "{own.certificate}"\nprivate_key = "{own.private_key}"\n'
    assert facts(mine).site.tlsa == ()  # nobody knows whether its owner keeps the key
    assert facts(f'{mine}[dns]\ntlsa = "on"').site.tlsa == (spki,)


ACME = '[acme]\ndirectory = "letsencrypt"\nagree_terms = true\nwebroot = "web"\n'


def test_the_authority(facts, tmp_path):
    own = ensure_self_signed(tmp_path / "elsewhere", "mail.example.org", NOW)
    obtained = tmp_path / "state" / "acme" / "certificate.pem"
    assert facts(ACME).site.tlsa == ()
    obtained.parent.mkdir(parents=True)
    obtained.write_bytes(own.private_key.read_bytes() + own.certificate.read_bytes())
    site = facts(ACME).site
    assert site.caa_issuer == "letsencrypt.org"
    assert site.tlsa == (read_summary(own.certificate).spki_sha256,)
    assert facts(f"{ACME}reuse_key = false\n").site.tlsa == ()
    obtained.write_text("nothing")
    assert "certificate.pem" in facts(ACME).troubles[0]


def test_an_address_that_nothing_is_sent_from_is_not_told_for_one_that_is_not_known(facts):
    """Behind NAT with IPv6 that has no reverse name: mail goes out by IPv4, from an address that is not known."""
    site = facts('[relay]\naddress_family = "ipv4"', (IPV6,)).site
    assert site.senders == ()
    assert spf_text(site) == "v=spf1 a:mail.example.org -all"
