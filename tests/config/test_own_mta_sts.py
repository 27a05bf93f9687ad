"""The tables [mta_sts] and [web]: what they take and refuse, and the policy that follows."""

import pytest

from mailserver.config import ConfigError, load_config
from mailserver.config.own_mta_sts import own_policy
from mailserver.mail.mta_sts import StsMode, StsPolicy

TOP = 'hostname = "mail.example.org"\ndomains = ["example.org", "example.net"]\npostmaster = "alice@example.org"\n'
TRUSTED = '[listen]\nhttps = ["tcp:443"]\n[tls]\ncertificate = "c.pem"\nprivate_key = "k.pem"\n'


def load(folder, text):
    path = folder / "mailserver.toml"
    path.write_text(TOP + text)
    return load_config(path)


def test_without_the_table_there_is_no_policy(tmp_path):
    assert own_policy(load(tmp_path, "")) is None
    assert load(tmp_path, "").web.status is False


def test_the_policy_names_our_host_unless_others_are_given(tmp_path):
    config = load(tmp_path, TRUSTED + '[mta_sts]\nmode = "enforce"\n')
    assert own_policy(config) == StsPolicy(StsMode.ENFORCE, ("mail.example.org",), 604800)
    assert not config.warnings
    config = load(
        tmp_path, TRUSTED + '[mta_sts]\nmode = "testing"\nmax_age = "1d"\nmx = ["MX.Example.org", "*.example.net"]'
    )
    assert own_policy(config) == StsPolicy(StsMode.TESTING, ("mx.example.org", "*.example.net"), 86400)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('mode = "on"', 'mta_sts.mode: "on": must be one of "off", "none", "testing", "enforce"'),
        ('max_age = "400d"', 'mta_sts.max_age: "400d": must be from "1s" to "365d"'),
        ('max_age = "100ms"', 'mta_sts.max_age: "100ms": must be from "1s" to "365d"'),
        (
            'mx = ["192.0.2.1"]',
            'mta_sts.mx[0]: "192.0.2.1": must be a host name such as "mail.mail.example.org", not an address',
        ),
        ('mx = ["mail.*.org"]', 'mta_sts.mx[0]: "mail.*.org": must be a host name such as "mail.example.org"'),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, expected):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f"[mta_sts]\n{text}\n")
    assert expected.partition(": must")[0] in str(caught.value)
    assert expected.partition("must")[2][:18] in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[mta_sts]\nmode = "testing"', "without listen.https this server does not show the policy"),
        ('[listen]\nhttps = ["tcp:443"]\n[mta_sts]\nmode = "testing"', "this server's is of its own making"),
        (
            TRUSTED + '[mta_sts]\nmode = "enforce"\nmax_age = "1h"',
            'mta_sts.max_age: 3600 s: with mode = "enforce" this is short',
        ),
    ],
)
def test_what_is_unwise_is_told(tmp_path, text, expected):
    assert any(expected in warning for warning in load(tmp_path, text).warnings)


def test_a_short_age_is_no_fault_while_testing(tmp_path):
    assert not load(tmp_path, TRUSTED + '[mta_sts]\nmode = "testing"\nmax_age = "1h"').warnings
