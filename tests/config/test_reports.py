"""The table [reports]: its keys, and what is probably not meant."""

import pytest

from mailserver.config import ConfigError, load_config
from mailserver.mail.address import Mailbox

CONFIG = """\
hostname = "mail.example.org"
domains = ["example.org"]
postmaster = "alice@example.org"
"""


@pytest.fixture
def load(tmp_path):
    def load_(text):
        (tmp_path / "mailserver.toml").write_text(CONFIG + text)
        return load_config(tmp_path / "mailserver.toml", None)

    return load_


def test_defaults(load):
    reports = load("").reports
    assert (reports.read, reports.send_dmarc, reports.send_tlsrpt) == (True, False, False)
    assert (reports.dmarc_address, reports.tlsrpt_address) == (None, None)
    assert (reports.keep, reports.max_size) == (180 * 86400.0, 100_000_000)


def test_values(load):
    reports = load('[reports]\ndmarc_address = "DMARC@Example.org"\nkeep = "30d"\nmax_size = "1MB"').reports
    assert reports.dmarc_address == Mailbox("DMARC", "example.org")
    assert reports.addresses(("example.org",)) == {"dmarc@example.org", "postmaster@example.org"}
    assert (reports.keep, reports.max_size) == (30 * 86400.0, 1_000_000)


@pytest.mark.parametrize(
    "text", ['dmarc_address = "nobody"', "dmarc_address = 7", 'send_dmarc = "yes"', 'keep = "0s"', "max_size = 0"]
)
def test_errors_name_the_key(load, text):
    with pytest.raises(ConfigError) as wrong:
        load(f"[reports]\n{text}")
    assert f"reports.{text.split()[0]}" in str(wrong.value)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('[reports]\ndmarc_address = "a@elsewhere.example"', "are not read here"),
        ('[reports]\ntlsrpt_address = "a@elsewhere.example"', "are not read here"),
        ('[reports]\nsend_dmarc = true\n[authentication]\nspf = "off"', "nothing to report"),
        ('[reports]\nsend_dmarc = true\n[authentication]\ndmarc = "off"', "nothing to report"),
    ],
)
def test_what_is_probably_not_meant_is_a_warning(load, text, word):
    assert any("reports." in one and word in one for one in load(text).warnings)


def test_what_is_meant_is_none(load):
    assert not [one for one in load("[reports]\nsend_dmarc = true\nsend_tlsrpt = true").warnings if "reports." in one]
