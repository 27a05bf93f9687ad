"""What setup decides, row by row."""

import ipaddress
from dataclasses import replace
from pathlib import Path

import pytest

from mailserver.setup.decide import decide
from mailserver.setup.layout import system_layout
from mailserver.setup.values import Answers, Existing, Here
from mailserver.survey.values import Behind, Outward, Port25, PublicAddress, Survey, TakenPort, Time

IP4, IP6 = ipaddress.ip_address("192.0.2.7"), ipaddress.ip_address("2001:db8::7")
OPEN = Outward(Port25.OPEN, Port25.OPEN)
NAMED4 = PublicAddress(IP4, True, ("mail.example.org",), is_confirmed=True, matches_hostname=True)
NAMED6 = PublicAddress(IP6, True, ("mail.example.org",), is_confirmed=True, matches_hostname=True)
RESOLVER = ("127.0.0.1", 53)
# A small rented machine on which everything is right.
GOOD = Survey((NAMED4, NAMED6), (), Behind.NOTHING, (IP4, IP6), "", RESOLVER, OPEN, (), Time(True, "it is kept right"))
HERE = Here(name_servers=(RESOLVER,))
ALICE = Answers("example.org", "alice", has_agreed=True)


def plan(survey=GOOD, answers=ALICE, existing=None, here=HERE):
    return decide(survey, answers, existing or Existing(), system_layout(), here)


def reason(found, topic):
    return next(f"{one.says}: {one.reason}" for one in found.decisions if one.topic == topic)


def needed(found):
    return " / ".join(one.text for one in found.errands if one.is_needed)


def test_on_a_good_machine_nothing_is_left_to_do():
    found = plan()
    assert (found.hostname, found.domains) == ("mail.example.org", ("example.org",))
    assert str(found.postmaster) == str(found.first) == "alice@example.org"
    assert found.settings["listen.smtp"] == ("tcp:25",)
    assert found.settings["listen.http"] == ("tcp:80",)
    assert found.settings["acme.directory"] == "letsencrypt"
    assert found.settings["relay.smarthost"] == ""
    assert found.settings["dns.servers"] == ()
    assert found.errands == () and found.kept == () and not found.needs_smarthost
    assert found.addresses == (IP4, IP6)


CARRIER = replace(GOOD, addresses=(), behind=Behind.CARRIER_NAT)
HOME = replace(GOOD, addresses=(replace(NAMED4, residential_on=("zen.example",)),))
BLOCKED = replace(GOOD, outward=Outward(Port25.BLOCKED, Port25.BLOCKED))
UNNAMED = replace(GOOD, addresses=(PublicAddress(IP4, True),))
SMART = replace(ALICE, smarthost="smtp.isp.example:587", smarthost_username="u")


@pytest.mark.parametrize(
    ("survey", "answers", "smarthost", "needs", "words"),
    [
        (GOOD, ALICE, "", False, "mail goes out directly: port 25 goes out from here"),
        (replace(GOOD, outward=Outward()), ALICE, "", False, "whether port 25 goes out could not be tried"),
        (
            BLOCKED,
            ALICE,
            "",
            True,
            "mail goes through a smarthost; your provider's host and login are needed: port 25 does",
        ),
        (
            BLOCKED,
            SMART,
            "smtp.isp.example:587",
            False,
            "through smtp.isp.example:587: port 25 does not go out from here",
        ),
        (HOME, ALICE, "", True, "192.0.2.7 is a home connection by zen.example"),
        (HOME, SMART, "smtp.isp.example:587", False, "large receivers take no mail from there"),
        (CARRIER, ALICE, "", True, "carrier NAT"),
        (
            UNNAMED,
            ALICE,
            "",
            False,
            "waits for a reverse name of the address or for a smarthost: 192.0.2.7 has no reverse",
        ),
        (UNNAMED, SMART, "smtp.isp.example:587", False, "192.0.2.7 has no reverse name"),
        # Not knowing is no reason.
        (
            replace(GOOD, addresses=(PublicAddress(IP4, True, reverse_trouble="no answer"),)),
            ALICE,
            "",
            False,
            "directly",
        ),
        (GOOD, SMART, "smtp.isp.example:587", False, "you said so"),
        # IPv6 alone may be blocked; then mail goes by IPv4.
        (replace(GOOD, outward=Outward(Port25.OPEN, Port25.BLOCKED)), ALICE, "", False, "directly"),
    ],
)
def test_direct_or_through_a_smarthost(survey, answers, smarthost, needs, words):
    found = plan(survey, answers)
    assert found.settings["relay.smarthost"] == smarthost
    assert found.needs_smarthost is needs
    assert words in reason(found, "outgoing")
    assert ("--smarthost" in str([one.commands for one in found.errands])) is needs


def test_the_smarthosts_port_tells_its_tls():
    found = plan(answers=replace(SMART, smarthost="smtp.isp.example:465"))
    assert found.settings["relay.smarthost_tls"] == "tls"
    assert plan(answers=SMART).settings["relay.smarthost_tls"] == "starttls"
    assert plan(answers=SMART).settings["relay.smarthost_username"] == "u"
    assert plan(answers=SMART).settings["relay.smarthost_password_file"] == "/var/lib/mailserver/smarthost-password"


@pytest.mark.parametrize(
    ("survey", "answers", "family", "words"),
    [
        (GOOD, ALICE, "auto", "leads back"),
        (replace(GOOD, addresses=(NAMED4, PublicAddress(IP6, True))), ALICE, "ipv4", "2001:db8::7 has no reverse name"),
        (
            replace(GOOD, addresses=(NAMED4, PublicAddress(IP6, True, ("other.example",)))),
            ALICE,
            "ipv4",
            "does not lead back",
        ),
        (
            replace(GOOD, addresses=(NAMED4, PublicAddress(IP6, True, reverse_trouble="no answer"))),
            ALICE,
            "auto",
            "could not be looked up",
        ),
        (replace(GOOD, outward=Outward(Port25.OPEN, Port25.BLOCKED)), ALICE, "ipv4", "by IPv4 and not by IPv6"),
        (replace(GOOD, addresses=(NAMED4,)), ALICE, "auto", "no public IPv6"),
        (replace(GOOD, addresses=(PublicAddress(IP6, True),)), ALICE, "auto", "no IPv4"),
        (replace(GOOD, addresses=(NAMED4, PublicAddress(IP6, True))), SMART, "auto", "the smarthost"),
    ],
)
def test_address_family(survey, answers, family, words):
    found = plan(survey, answers)
    assert found.settings["relay.address_family"] == family
    assert words in reason(found, "address-family")


NGINX = replace(GOOD, taken=(TakenPort(80, "nginx (process 812)"), TakenPort(443, "nginx (process 812)")))
HIDDEN = replace(GOOD, taken=(TakenPort(80, ""), TakenPort(443, "")))
ROOT = Path("/var/www/html")
WITH_ROOT = replace(HERE, webroot=ROOT)


@pytest.mark.parametrize(
    ("survey", "answers", "here", "directory", "challenge", "http", "words"),
    [
        (GOOD, ALICE, HERE, "letsencrypt", "http-01", ("tcp:80",), "port 80 is free"),
        (GOOD, replace(ALICE, has_agreed=False), HERE, "", "http-01", ("tcp:80",), "not agreed"),
        (
            NGINX,
            ALICE,
            WITH_ROOT,
            "letsencrypt",
            "http-01",
            (),
            "folder /var/www/html (HTTP-01): port 80 belongs to nginx",
        ),
        (NGINX, ALICE, HERE, "", None, (), "whose folder is not known"),
        # A folder that is there says nothing when it is not known whose the port is.
        (HIDDEN, ALICE, WITH_ROOT, "", None, (), "port 80 belongs to another program"),
        (HIDDEN, replace(ALICE, webroot=Path("/srv/www")), HERE, "letsencrypt", "http-01", (), "/srv/www"),
        (NGINX, replace(ALICE, dns_hook=Path("/usr/local/bin/hook")), HERE, "letsencrypt", "dns-01", (), "DNS-01"),
        (CARRIER, ALICE, HERE, "", None, (), "carrier NAT"),
        (CARRIER, replace(ALICE, dns_hook=Path("/hook")), HERE, "letsencrypt", "dns-01", (), "DNS-01"),
        (GOOD, replace(ALICE, port_offset=2500), HERE, "", None, ("tcp:2580:interface=127.0.0.1",), "lab"),
    ],
)
def test_certificates(survey, answers, here, directory, challenge, http, words):
    found = plan(survey, answers, here=here)
    assert found.settings["acme.directory"] == directory
    assert found.settings.get("acme.challenge") == challenge
    assert found.settings["listen.http"] == http
    assert words in reason(found, "certificate")
    assert ("for a certificate" in str(found.errands)) is (not directory and not answers.port_offset)
    if found.settings.get("acme.webroot"):
        (errand,) = found.errands
        assert errand.commands == (f"install -d -o mailserver {answers.webroot or ROOT}/.well-known/acme-challenge",)


def test_an_own_certificate_stays():
    found = plan(existing=Existing({"tls.certificate": "/etc/ssl/mail.pem"}))
    assert found.settings["acme.directory"] == ""
    assert found.errands == ()


def test_taken_ports_are_named_with_who_holds_them():
    exim = replace(GOOD, taken=(TakenPort(25, "exim4 (process 812)"), TakenPort(110, "")))
    found = plan(exim)
    assert found.settings["listen.smtp"] == ("tcp:25",)
    assert "25 belongs to exim4 (process 812) now; 110 belongs to another program now" in reason(found, "listen")
    assert "port 25 is taken by exim4 (process 812)" in needed(found)
    assert [one.commands for one in found.errands] == [("systemctl disable --now exim4",), ("ss -ltnp sport = :110",)]


@pytest.mark.parametrize("by", ["twistd (process 4711)", ""])
def test_our_own_server_holds_its_ports(by):
    ours = replace(GOOD, taken=tuple(TakenPort(port, by) for port in (25, 80, 110, 443, 465, 587, 995)))
    found = plan(ours, here=replace(HERE, server="process 4711 (server)"))
    assert found.settings == plan().settings
    assert found.errands == ()


def test_behind_a_router_it_is_told_what_to_forward():
    nat = replace(GOOD, addresses=(), behind=Behind.NAT, private=(ipaddress.ip_address("10.0.0.5"),))
    found = plan(nat)
    assert "forward the TCP ports 25, 587, 465, 110, 995, 80, 443 to 10.0.0.5" in needed(found)
    assert "public IPv4 address could not be found out" in needed(found)
    told = plan(replace(nat, addresses=(NAMED4,)), replace(ALICE, addresses=(IP4,)))
    assert told.settings["doctor.addresses"] == ("192.0.2.7",)
    assert "could not be found out" not in needed(told)


@pytest.mark.parametrize(
    ("validating", "system", "servers", "words"),
    [
        (RESOLVER, (RESOLVER,), (), "DANE of others is followed"),
        (RESOLVER, (("192.0.2.53", 53),), ("127.0.0.1:53",), "checks DNSSEC"),
        (("::1", 53), (), ("[::1]:53",), "checks DNSSEC"),
        (None, (("192.0.2.53", 53),), (), "cannot be followed"),
    ],
)
def test_a_validating_resolver(validating, system, servers, words):
    found = plan(replace(GOOD, validating_resolver=validating), here=Here(name_servers=system))
    assert found.settings["dns.servers"] == servers
    assert words in reason(found, "resolver")
    commands = [one.commands for one in found.errands]
    assert commands == ([] if validating else [("apt install unbound", "mailserver setup example.org")])


@pytest.mark.parametrize(
    ("survey", "answers", "existing", "name"),
    [
        (replace(GOOD, addresses=()), ALICE, {}, "mail.example.org"),
        (replace(GOOD, addresses=(replace(NAMED4, reverse_names=("MX1.example.org",)),)), ALICE, {}, "mx1.example.org"),
        # The provider's name is no name of ours.
        (
            replace(GOOD, addresses=(replace(NAMED4, reverse_names=("vps7.cloud.example",)),)),
            ALICE,
            {},
            "mail.example.org",
        ),
        (GOOD, replace(ALICE, hostname="post.example.org"), {"hostname": "x.example.org"}, "post.example.org"),
        (GOOD, ALICE, {"hostname": "x.example.org"}, "x.example.org"),
    ],
)
def test_hostname(survey, answers, existing, name):
    assert plan(survey, answers, Existing(existing)).hostname == name


def test_a_reverse_name_that_is_another_is_to_be_asked_for():
    found = plan(replace(GOOD, addresses=(replace(NAMED4, reverse_names=("vps7.cloud.example",)),)))
    (errand,) = found.errands
    assert "(PTR) of 192.0.2.7 is vps7.cloud.example: ask the provider" in errand.text and not errand.is_needed
    (errand,) = plan(UNNAMED).errands
    assert errand.is_needed and "is missing" in errand.text


def test_listed_addresses_and_wrong_clocks_are_told():
    listed = replace(
        GOOD, addresses=(replace(NAMED4, listed_on=("bl.example",)),), time=Time(False, "it is 2 days ahead")
    )
    texts = [one.text for one in plan(listed).errands]
    assert any("listed by bl.example" in text for text in texts)
    assert any("2 days ahead" in text for text in texts)


def test_another_domain_is_added_and_people_stay():
    found = plan(
        answers=Answers("example.net"),
        existing=Existing(
            {"domains": ("example.org",), "postmaster": "alice@example.org", "hostname": "mail.example.org"}
        ),
    )
    assert found.domains == ("example.org", "example.net")
    assert str(found.postmaster) == "alice@example.org"
    assert found.first is None


def test_without_a_name_the_first_account_is_postmaster():
    assert str(plan(answers=Answers("example.org")).first) == "postmaster@example.org"


def test_what_the_owner_set_stays_and_is_told():
    decided = dict(plan().settings)
    own = Existing(decided | {"relay.address_family": "ipv6", "listen.pop3": ()}, decided)
    found = plan(existing=own)
    assert found.settings["relay.address_family"] == "ipv6"
    assert found.settings["listen.pop3"] == ()
    assert found.kept == (
        'listen.pop3 = [] is yours and stays; setup would have taken ["tcp:110"]',
        'relay.address_family = "ipv6" is yours and stays; setup would have taken "auto"',
    )


def test_what_setup_set_follows_the_facts():
    decided = dict(plan().settings)
    found = plan(replace(GOOD, addresses=(NAMED4, PublicAddress(IP6, True))), existing=Existing(decided, decided))
    changed = {key for key in found.settings if found.settings[key] != decided[key]}
    assert changed == {"relay.address_family"}
    assert found.kept == ()


def test_what_is_said_counts_before_what_stands_there():
    own = Existing({"relay.smarthost": "old.isp.example:587"}, {})
    assert plan(existing=own).settings["relay.smarthost"] == "old.isp.example:587"
    assert plan(answers=SMART, existing=own).settings["relay.smarthost"] == "smtp.isp.example:587"


@pytest.mark.parametrize(
    "answers",
    [
        SMART,
        replace(ALICE, dns_hook=Path("/hook")),
        replace(ALICE, port_offset=2500),
        replace(ALICE, uses_sockets=True),
        ALICE,
    ],
)
def test_what_was_said_once_need_not_be_said_again(answers):
    before = dict(plan(answers=answers).settings)
    again = plan(answers=Answers("example.org"), existing=Existing(before, before))
    assert {key: again.settings[key] for key in again.settings if again.settings[key] != before[key]} == {}
    assert again.kept == ()


def test_a_program_in_a_home_folder_cannot_be_run_by_the_unit():
    (errand,) = plan(here=replace(HERE, program=Path("/root/mailserver/.venv/bin/twistd"))).errands
    assert "/root/mailserver/.venv" in errand.text and errand.is_needed
    assert plan(here=replace(HERE, program=Path("/opt/mailserver/bin/twistd"))).errands == ()


def test_mail_and_state_of_a_server_that_is_there_stay_where_they_are():
    """Also when that is a default: another place would be an empty one."""
    found = plan(existing=Existing({"hostname": "mail.example.org"}))
    assert not [key for key in found.settings if key.startswith(("storage.", "accounts.", "sendmail."))]
    assert plan().settings["storage.state"] == "/var/lib/mailserver"


@pytest.mark.parametrize(
    ("host", "username"),
    [("smtp.isp.example:587", "u"), ("other.isp.example:587", "")],
)
def test_a_login_belongs_to_its_smarthost(host, username):
    before = dict(plan(answers=SMART).settings)
    found = plan(answers=Answers("example.org", smarthost=host), existing=Existing(before, before))
    assert found.settings["relay.smarthost"] == host
    assert found.settings["relay.smarthost_username"] == username
    assert bool(found.settings["relay.smarthost_password_file"]) is bool(username)


def test_what_cannot_be_looked_up_now_changes_nothing():
    """A second run while DNS is away, or with --offline."""
    first = plan(replace(GOOD, addresses=(NAMED4, PublicAddress(IP6, True))))
    assert first.settings["relay.address_family"] == "ipv4"
    dark = replace(
        GOOD, addresses=(replace(NAMED4, reverse_trouble="x"), PublicAddress(IP6, True, reverse_trouble="x"))
    )
    again = plan(dark, existing=Existing(first.settings, first.decided))
    assert {key: first.settings[key] for key in again.settings} == dict(again.settings)


def test_what_setup_decided_stays_its_own_over_a_run_that_cannot_tell():
    local = replace(HERE, name_servers=(("192.0.2.53", 53),))
    first = plan(here=local)
    assert first.settings["dns.servers"] == ("127.0.0.1:53",)
    offline = plan(existing=Existing(first.settings, first.decided), here=replace(local, is_offline=True))
    third = plan(
        replace(GOOD, validating_resolver=None), existing=Existing(first.settings, offline.decided), here=local
    )
    assert third.settings["dns.servers"] == () and third.kept == ()


def test_behind_nat_with_ipv6_the_ipv4_address_is_still_wanted():
    found = plan(replace(GOOD, behind=Behind.NAT, addresses=(NAMED6,)))
    assert "the public IPv4 address could not be found out" in needed(found)
    assert "could not be found out" not in needed(plan(replace(GOOD, behind=Behind.NAT)))
