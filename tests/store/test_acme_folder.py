"""What is kept for ACME: one file for a pair, a record that outlives restarts, and nothing that others can read."""

import json
import stat

import pytest

from mailserver.store.acme_folder import ACME_RECORD_VERSION, AcmeFolder, AcmeRecord
from mailserver.store.certificates import (
    Unusable,
    check_obtained,
    key_kind,
    make_key,
    private_part,
    read_summary,
    summary,
)
from mailserver.store.spool_json import Damaged, NewerFormat
from tests.fakes.authority import DAY, FakeAuthority

NOW = 1_750_000_000.0
NAMES = ("mail.example.org", "mta-sts.example.org")


@pytest.fixture
def folder(tmp_path):
    return AcmeFolder(tmp_path / "var")


def test_the_account_key_is_made_once_and_is_ours_alone(folder):
    key = folder.account_key()
    assert folder.account_key() == key
    assert key_kind(key) == "p256"
    assert [stat.S_IMODE(path.stat().st_mode) for path in folder.path.iterdir()] == [0o600]
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700


@pytest.mark.parametrize("kind", ["p256", "rsa2048"])
def test_a_pair_is_one_file(folder, kind):
    key = make_key(kind)
    chain = FakeAuthority().issue(key, NAMES, NOW)
    assert folder.pair() is None
    folder.install(key, chain)
    pair = folder.pair()
    assert private_part(pair) == key
    assert pair.endswith(chain)
    assert key_kind(pair) == kind
    found = read_summary(folder.certificate)
    assert found.names == NAMES
    assert found.issuer == "Test Issuer"
    assert found.days_left(NOW) == 89
    assert stat.S_IMODE(folder.certificate.stat().st_mode) == 0o600


def test_what_a_crash_left_half_written_is_no_obstacle(folder):
    folder.account_key()
    for name in ("certificate.pem.new", "record.json.new"):
        (folder.path / name).write_bytes(b"half")
    folder.install(b"key\n", b"chain\n")
    folder.write_record(AcmeRecord(failures=1))
    assert sorted(path.name for path in folder.path.iterdir()) == ["account.pem", "certificate.pem", "record.json"]


def test_the_record_comes_back_as_it_was(folder):
    assert folder.read_record() == AcmeRecord()
    record = AcmeRecord("stamp", 3, 1.0, 2.0, "Gründe", "remedy", 3.0, 4.0, 5.0, "https://ca.example/dir", 6.0)
    folder.write_record(record)
    assert folder.read_record() == record


@pytest.mark.parametrize(
    ("octets", "kind"),
    [
        (b"", Damaged),
        (b"[]", Damaged),
        (json.dumps({"version": 1, "failures": -1}).encode(), Damaged),
        (json.dumps({"version": 1, "next_attempt_at": "soon"}).encode(), Damaged),
        (json.dumps({"version": ACME_RECORD_VERSION + 1}).encode(), NewerFormat),
    ],
)
def test_a_record_that_cannot_be_read_is_told_and_does_no_harm(folder, octets, kind):
    folder.account_key()
    (folder.path / "record.json").write_bytes(octets)
    with pytest.raises(kind):
        folder.read_record()
    assert folder.remembered() == AcmeRecord()


def test_a_link_in_the_folder_is_not_followed(folder, tmp_path):
    folder.account_key()
    folder.certificate.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        folder.pair()


def issued(key, names=NAMES, **about):
    return FakeAuthority().issue(key, names, NOW, **about)


KEY, OTHER = make_key("p256"), make_key("p256")


@pytest.mark.parametrize(
    ("chain", "now", "words"),
    [
        (issued(OTHER), NOW, "for another key"),
        (issued(KEY, ("mail.example.org",)), NOW, "and not for mta-sts.example.org"),
        (issued(KEY), NOW + 91 * DAY, "expired already"),
        (issued(KEY, subject="Somebody"), NOW, "chain is not in order"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", NOW, "no certificate"),
        (b"", NOW, "no certificate"),
    ],
)
def test_what_an_authority_sends_is_checked(chain, now, words):
    with pytest.raises(Unusable, match=words):
        check_obtained(KEY, chain, NAMES, now)


def test_a_wildcard_is_good_for_names_below_it():
    found = check_obtained(KEY, issued(KEY, ("*.example.org",)), NAMES, NOW)
    assert found.names == ("*.example.org",)


def test_the_same_key_has_the_same_hash():
    first, second = summary(issued(KEY)), summary(issued(KEY))
    assert first.serial != second.serial
    assert first.spki_sha256 == second.spki_sha256 != summary(issued(OTHER)).spki_sha256
    with pytest.raises(Unusable):
        key_kind(b"no key")
