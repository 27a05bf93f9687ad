"""The tables [junk], [[dnsbl]] and [rspamd]: what is read, and how a mistake is told."""

import tomllib
from ipaddress import IPv4Address, ip_network
from pathlib import Path

import pytest

from mailserver.config import ConfigError, load_config
from mailserver.config.junk import AnswerRange, Dnsbl, ListLooksAt, RspamdAt, WhenDown, dnsbl_tables
from mailserver.config.structure import key_names
from mailserver.config.values import HostPort
from mailserver.mail.junk import JunkDelivery

TOP = 'hostname = "mail.example.org"\ndomains = ["example.org"]\npostmaster = "alice@example.org"\n'


def loaded(tmp_path, text):
    path = tmp_path / "mailserver.toml"
    path.write_text(TOP + text)
    return load_config(path)


def errors(tmp_path, text):
    with pytest.raises(ConfigError) as error:
        loaded(tmp_path, text)
    return [line.partition("mailserver.toml: ")[2] for line in str(error.value).splitlines()]


def test_everything_is_off_by_default(tmp_path):
    config = loaded(tmp_path, "")
    assert config.dnsbl == () and config.rspamd.url is None and config.rspamd.when_down is WhenDown.ACCEPT
    assert config.junk.deliver is JunkDelivery.INBOX and config.warnings == ()


def test_all_keys(tmp_path):
    text = """
[junk]
deliver = "folder"
dnsbl_junk = 2
dnsbl_refuse = 0
dnsbl_timeout = "500ms"
dnsbl_exempt = ["198.51.100.0/24"]
[[dnsbl]]
zone = "Zen.Example"
name = "ZEN"
weight = 2
answers = ["127.0.0.2", "127.0.0.4 - 127.0.0.7", "127.0.1.0/24"]
[[dnsbl]]
zone = "white.example"
weight = -3
[[dnsbl]]
zone = "zen.example"
looks_at = "domain"
[rspamd]
url = "http://127.0.0.1"
timeout = "3s"
max_size = "1MB"
when_down = "defer"
logins = true
"""
    config = loaded(tmp_path, text)
    assert (config.junk.dnsbl_junk, config.junk.dnsbl_refuse, config.junk.dnsbl_timeout) == (2, 0, 0.5)
    assert config.junk.dnsbl_exempt == (ip_network("198.51.100.0/24"),)
    ranges = (("127.0.0.2", "127.0.0.2"), ("127.0.0.4", "127.0.0.7"), ("127.0.1.0", "127.0.1.255"))
    answers = tuple(AnswerRange(IPv4Address(first), IPv4Address(last)) for first, last in ranges)
    assert config.dnsbl == (
        Dnsbl("zen.example", "ZEN", 2, answers),
        Dnsbl("white.example", weight=-3),
        Dnsbl("zen.example", looks_at=ListLooksAt.DOMAIN),
    )
    assert config.rspamd.url == RspamdAt(HostPort("127.0.0.1", 11333))
    assert config.rspamd.logins and config.rspamd.when_down is WhenDown.DEFER
    assert config.warnings == ()


@pytest.mark.parametrize(
    ("url", "at"),
    [
        ("http://127.0.0.1:11333", "http://127.0.0.1:11333"),
        ("http://127.0.0.1:11333/", "http://127.0.0.1:11333"),
        ("http://localhost:11333/checkv2", "http://localhost:11333"),
        ("http://[::1]:11333", "http://[::1]:11333"),
        ("unix:/run/rspamd/normal.sock", "unix:/run/rspamd/normal.sock"),
    ],
)
def test_where_rspamd_is(tmp_path, url, at):
    config = loaded(tmp_path, f'[rspamd]\nurl = "{url}"')
    assert str(config.rspamd.url) == at and config.warnings == ()


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:11333",
        "https://127.0.0.1:11333",
        "http://",
        "http://a@b:1",
        "unix:relative",
        "http://x:99999",
        "rspamd",
    ],
)
def test_where_rspamd_cannot_be(tmp_path, url):
    (error,) = errors(tmp_path, f'[rspamd]\nurl = "{url}"')
    assert error.startswith(f'rspamd.url: "{url}": must be where rspamd listens, such as "http://127.0.0.1:11333"')


def test_every_mistake_is_told_at_once(tmp_path):
    text = """
[junk]
deliver = "spam"
dnsbl_junk = -1
[[dnsbl]]
name = "no zone"
[[dnsbl]]
zone = "bl.example"
wieght = 2
weight = 0
answers = ["127.0.0.9-127.0.0.2", "192.0.2.1", "x", "127.0.0.2"]
looks_at = "clients"
[[dnsbl]]
zone = "two.example"
[[dnsbl]]
zone = "two.example"
[rspamd]
when_down = "drop"
"""
    found = errors(tmp_path, text)
    starts = [
        'junk.deliver: "spam": must be one of "inbox", "folder"',
        "junk.dnsbl_junk: -1: must be a whole number from 0 to 1000",
        'dnsbl[0]: { name = "no zone" }: must name its zone, such as zone = "zen.example.net"',
        "dnsbl[1].wieght: 2: there is no such key (did you mean weight?)",
        "dnsbl[1].weight: 0: must be a whole number from 1 to 100, or below 0",
        'dnsbl[1].answers[0]: "127.0.0.9-127.0.0.2": must be an address such as "127.0.0.2"',
        'dnsbl[1].answers[1]: "192.0.2.1": must be an address such as "127.0.0.2"',
        'dnsbl[1].answers[2]: "x": must be an address such as "127.0.0.2"',
        'dnsbl[1].looks_at: "clients": must be one of "client", "domain" (did you mean "client"?)',
        'dnsbl[3].zone: "two.example": stands here twice',
        'rspamd.when_down: "drop": must be one of "accept", "defer"',
    ]
    for start in starts:
        assert any(error.startswith(start) for error in found), (start, found)
    assert len(found) == len(starts)
    (error,) = errors(tmp_path, '[dnsbl]\nzone = "bl.example"')
    assert "must be a list of tables: begin each with a line [[dnsbl]]" in error


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("[junk]\ndnsbl_junk = 5\ndnsbl_refuse = 3", "junk.dnsbl_junk: 5: is never reached"),
        (
            '[junk]\ndnsbl_junk = 0\ndnsbl_refuse = 0\n[[dnsbl]]\nzone = "bl.example"',
            "junk.dnsbl_refuse: 0: with junk.dnsbl_junk = 0 as well",
        ),
        ('[rspamd]\nurl = "http://192.0.2.9:11333"', 'rspamd.url: "http://192.0.2.9:11333": all mail crosses'),
        ('[rspamd]\npassword_file = "/p"', 'rspamd.password_file: "/p": without rspamd.url this has no effect'),
    ],
)
def test_what_is_unwise_is_told(tmp_path, text, warning):
    (told,) = loaded(tmp_path, text).warnings
    assert warning in told


def test_the_sample_names_every_key_of_a_list():
    sample = (Path(__file__).parents[2] / "etc" / "mailserver.toml").read_text("utf-8")
    example = sample.partition("# [[dnsbl]]\n")[2].partition("\n\n")[0].splitlines()
    assert [line[2:].partition(" =")[0] for line in example] == key_names(Dnsbl)
    (found,) = load_example("\n".join(line[2:] for line in example))
    assert found.zone == "bl.example.net"


def load_example(text):
    return dnsbl_tables.read(tomllib.loads(f"[[dnsbl]]\n{text}")["dnsbl"], Path())
