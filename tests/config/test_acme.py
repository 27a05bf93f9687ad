# ruff: noqa: E501 - a text is one line, however long
"""The table [acme]: what it takes, what it refuses and in which words, and which names follow from it."""

import pytest

from mailserver.config import ConfigError, load_config
from mailserver.config.acme import SHORT_NAMES, needed_names, usual_names, wanted_names
from mailserver.net.listener_text import check_listener

TOP = 'hostname = "mail.example.org"\ndomains = ["example.org", "example.net"]\npostmaster = "alice@example.org"\n'
ON = '[acme]\ndirectory = "letsencrypt"\nagree_terms = true\n'
BY_DNS = ON + 'challenge = "dns-01"\ndns_hook = "hook"\n'


def load(folder, text):
    path = folder / "mailserver.toml"
    path.write_text(TOP + text)
    return load_config(path)


def errors(folder, text):
    with pytest.raises(ConfigError) as caught:
        load(folder, text)
    return [line.removeprefix(f"{folder / 'mailserver.toml'}: ") for line in str(caught.value).splitlines()]


def test_without_a_directory_nothing_is_asked_of_anybody(tmp_path):
    config = load(tmp_path, "[acme]\ncontact = 'alice@example.org'\n")
    assert not config.acme.is_on
    assert not config.warnings


def test_short_names_become_addresses(tmp_path):
    assert load(tmp_path, BY_DNS).acme.directory == SHORT_NAMES["letsencrypt"]
    other = BY_DNS.replace("letsencrypt", "https://127.0.0.1:14000/dir")
    assert load(tmp_path, other).acme.directory == "https://127.0.0.1:14000/dir"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "[acme]\ndirectory = 'http://ca.example/dir'\ncontact = 'nobody'\nnames = ['192.0.2.1', '*.*.example.org', 'a..b']",
            [
                'acme.directory: "http://ca.example/dir": must be "letsencrypt", the https:// address of another authority\'s ACME directory, or "" for none',
                'acme.contact: "nobody": must be an address such as "alice@example.org", or empty',
                'acme.names[0]: "192.0.2.1": must be a host name such as "mail.example.org" or "*.example.org"',
                'acme.names[1]: "*.*.example.org": must be a host name such as "mail.example.org" or "*.example.org"',
                'acme.names[2]: "a..b": must be a host name such as "mail.example.org" or "*.example.org"',
            ],
        ),
        (
            "[acme]\ndirectory = 'letsencrypt'\nwebroot = 'www'",
            [
                "acme.agree_terms: false: must be true: an authority gives certificates only to who has agreed to its terms of service, and only you can agree; "
                f"{SHORT_NAMES['letsencrypt']} names them"
            ],
        ),
        (
            ON,
            [
                'acme.challenge: "http-01": needs a way to answer on port 80: set listen.http = ["tcp:80"], or acme.webroot to the folder of a web server that has that port, or take "dns-01" with acme.dns_hook'
            ],
        ),
        (
            ON + "challenge = 'dns-01'",
            [
                'acme.dns_hook: "": must name the command that puts TXT records into your DNS, with acme.challenge = "dns-01"'
            ],
        ),
        (
            ON + "webroot = 'www'\nnames = ['mail.example.org', '*.example.org']",
            ['acme.names[1]: "*.example.org": a wildcard needs acme.challenge = "dns-01" (RFC 8555 7.1.3)'],
        ),
        (
            BY_DNS + "eab_key_id = 'kid-1'",
            ["acme.eab_key_file: must be set together with acme.eab_key_id; the authority gave you both"],
        ),
    ],
)
def test_what_cannot_work_is_refused_with_what_would(tmp_path, text, expected):
    assert errors(tmp_path, text) == expected


def test_one_certificate_and_not_two(tmp_path):
    (error,) = errors(tmp_path, BY_DNS + "[tls]\ncertificate = 'cert.pem'\nprivate_key = 'key.pem'")
    assert error.startswith("tls.certificate: ")
    assert "must be empty with acme.directory" in error


def test_what_has_no_effect_is_warned_of(tmp_path):
    config = load(tmp_path, BY_DNS + "webroot = 'www'\nnames = ['other.example.org']")
    told = [warning.partition("mailserver.toml: ")[2] for warning in config.warnings]
    assert [one.partition(":")[0] for one in told] == ["acme.names", "acme.webroot"]


def test_names_that_are_given_are_taken_as_they_are(tmp_path):
    config = load(tmp_path, BY_DNS + "names = ['*.Example.ORG', 'bücher.example']")
    assert wanted_names(config) == ("*.example.org", "xn--bcher-kva.example")


@pytest.mark.parametrize(
    ("more", "others"),
    [
        ("", ()),
        ("[mta_sts]\nmode = 'enforce'\n", ()),
        ("[listen]\nhttps = ['tcp:443']\n", ("autoconfig.example.org", "autoconfig.example.net")),
        (
            "[listen]\nhttps = ['tcp:443']\n[mta_sts]\nmode = 'testing'\n",
            ("mta-sts.example.org", "mta-sts.example.net", "autoconfig.example.org", "autoconfig.example.net"),
        ),
    ],
)
def test_only_names_under_which_this_server_answers_are_wanted(tmp_path, more, others):
    """A policy that another web server shows needs a certificate there."""
    config = load(tmp_path, BY_DNS + more)
    assert wanted_names(config) == ("mail.example.org", *others)
    assert needed_names(config) == ("mail.example.org",)


@pytest.mark.parametrize(
    ("policies", "autoconfig", "expected"),
    [
        (False, False, ("mail.example.org",)),
        (True, False, ("mail.example.org", "mta-sts.example.org", "mta-sts.example.net")),
        (False, True, ("mail.example.org", "autoconfig.example.org", "autoconfig.example.net")),
    ],
)
def test_names_follow_from_what_is_served(policies, autoconfig, expected):
    domains = ("example.org", "example.net")
    assert usual_names("mail.example.org", domains, serves_policies=policies, serves_autoconfig=autoconfig) == expected


def test_a_host_that_is_also_a_name_of_its_domain_stands_once():
    found = usual_names("mta-sts.example.org", ("example.org",), serves_policies=True, serves_autoconfig=False)
    assert found == ("mta-sts.example.org",)


@pytest.mark.parametrize(
    ("listen", "more", "is_warned"),
    [
        ("['tcp:80']", "", False),
        ("['tcp:8080', 'tcp:80:interface=192.0.2.1']", "", False),
        ("['tcp:8080']", "", True),
        ("['systemd:domain=INET:name=http']", "", False),
        ("['tcp:8080']", "webroot = 'www'\n", False),
    ],
)
def test_the_port_that_an_authority_asks_at(tmp_path, listen, more, is_warned):
    path = tmp_path / "mailserver.toml"
    path.write_text(TOP + ON + more + f"[listen]\nhttp = {listen}\n")
    told = [one for one in load_config(path, check_listener).warnings if "the authority always asks at port 80" in one]
    assert bool(told) is is_warned
