"""The file of MTA-STS policies: what goes in comes out, and what is damaged is told."""

import pytest

from mailserver.mail.mta_sts import StsMode, StsPolicy
from mailserver.store.files import Files
from mailserver.store.spool_json import Damaged, NewerFormat
from mailserver.store.sts_policies import FetchedPolicy, StsPolicyFile, decode, encode

ONE = FetchedPolicy(StsPolicy(StsMode.ENFORCE, ("mx.example.net", "*.example.net"), 604800), "20240101", 1750000000.0)
OTHER = FetchedPolicy(StsPolicy(StsMode.NONE, (), 86400), "2", 1750000000.5)


def test_what_is_written_is_read(tmp_path):
    file = StsPolicyFile(tmp_path, Files())
    assert file.read() == {}
    file.path.with_name("mta-sts.json.new").write_bytes(b"left by a crash")
    file.write({"example.net": ONE, "example.com": OTHER})
    assert file.read() == {"example.net": ONE, "example.com": OTHER}
    assert [path.name for path in tmp_path.iterdir()] == ["mta-sts.json"]


def test_the_file_is_as_the_module_says():
    assert encode({"example.net": ONE}).decode() == (
        '{"version": 1,\n"policies": [\n'
        '["example.net", "20240101", 1750000000.0, "enforce", 604800, ["mx.example.net", "*.example.net"]]\n]}\n'
    )


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"[]",
        b'{"version": 1}',
        b'{"version": 0, "policies": []}',
        b'{"version": 1, "policies": [["a", "1", 1.0, "sometimes", 1, []]]}',
        b'{"version": 1, "policies": [["a", "1", 1.0, "none", 1, [3]]]}',
        b'{"version": 1, "policies": [["a", "1"]]}',
    ],
)
def test_what_is_damaged_is_told(octets):
    with pytest.raises(Damaged):
        decode(octets)


def test_a_newer_file_is_refused():
    with pytest.raises(NewerFormat):
        decode(b'{"version": 2, "anything": 1}')


def test_a_policy_lasts_as_long_as_it_says_and_no_clock_makes_it_last_longer():
    assert ONE.is_valid(1750000000.0 + 604799)
    assert not ONE.is_valid(1750000000.0 + 604801)
    assert not ONE.is_valid(1750000000.0 - 604801)
