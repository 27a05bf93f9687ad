"""The table [doctor]."""

import ipaddress

import pytest

from mailserver.config import ConfigError, load_config
from mailserver.config.doctor import Doctor

TOP = 'hostname = "mail.example.org"\ndomains = ["example.org"]\npostmaster = "alice@example.org"\n[doctor]\n'


def loaded(folder, text):
    path = folder / "mailserver.toml"
    path.write_text(TOP + text)
    return load_config(path).doctor


def test_without_keys_it_looks_each_day_and_asks_only_name_servers(tmp_path):
    doctor = loaded(tmp_path, "")
    assert doctor == Doctor()
    assert (doctor.daily, doctor.addresses, doctor.address_url, doctor.clock_url) == (True, (), "", "")


def test_all_keys(tmp_path):
    doctor = loaded(
        tmp_path,
        'daily = false\naddresses = ["203.0.114.7", "2a00::7"]\naddress_url = "https://a.example/"\nlists = []\n'
        'port25_domains = ["Example.NET"]\nsigned_name = "example"\nclock_url = "http://c.example/"\n',
    )
    assert doctor == Doctor(
        daily=False,
        addresses=(ipaddress.ip_address("203.0.114.7"), ipaddress.ip_address("2a00::7")),
        address_url="https://a.example/",
        lists=(),
        port25_domains=("example.net",),
        signed_name="example",
        clock_url="http://c.example/",
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("daily = 1", "daily: 1: must be true or false"),
        ('addresses = ["mail.example.org"]', "addresses[0]"),
        ('address_url = "www.example.net"', 'address_url: "www.example.net": must be an address such as "https://'),
        ('clock_url = "ftp://example.net/"', "clock_url"),
        ('lists = ["zen"]\nlist = []', "list: []: there is no such key"),
        ('port25_domains = ["a@example.net"]', "port25_domains[0]"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, told):
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text)
    assert f"doctor.{told}" in str(caught.value)
