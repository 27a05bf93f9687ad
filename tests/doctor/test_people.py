"""The roles, and password hashes."""

import pytest

from mailserver.doctor.check import Verdict
from mailserver.doctor.people import check_passwords, check_postmaster
from mailserver.store.account_tables import read_tables
from tests.doctor.configs import plain

PASS, WARN, FAIL, UNKNOWN, SKIP = Verdict
ALICE = '[accounts."alice@example.org"]\n'


def tables(config, text):
    return read_tables(text.encode(), config.accounts.file, config.domains, config.postmaster)


@pytest.mark.parametrize(
    ("accounts", "verdict"),
    [
        (ALICE, PASS),
        ('[aliases]\n"alice@example.org" = ["bob@example.net"]\n', PASS),
        ("", FAIL),
        (f"{ALICE}disabled = true\n", FAIL),
        ('[accounts."bob@example.org"]\n[aliases]\n"postmaster@example.org" = ["bob@example.org"]\n', FAIL),
    ],
)
def test_postmaster_and_abuse_reach_somebody(accounts, verdict):
    config = plain()
    (found,) = check_postmaster(config, tables(config, accounts))
    assert found.verdict is verdict
    assert bool(found.remedy) is (verdict is FAIL)


@pytest.mark.parametrize(
    ("stored", "verdict"),
    [
        ("$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g", PASS),
        ("{BLF-CRYPT}$2y$05$abcdefghijklmnopqrstuv", PASS),
        ("$2b$12$abcdefghijklmnopqrstuv", PASS),
        ("$6$salt$hash", PASS),
        ("{PBKDF2-SHA256}25000$salt$hash", PASS),
        ("$1$salt$hash", WARN),
        ("{MD5-CRYPT}$1$salt$hash", WARN),
        ("{SSHA}aGFzaA==", WARN),
        ("{SSHA512}aGFzaA==", WARN),
        ("{PBKDF2}$1$salt$1000$00", WARN),
        ("{PLAIN}secret", FAIL),
        ("secret", FAIL),
    ],
)
def test_hashes(stored, verdict):
    config = plain()
    (found,) = check_passwords(tables(config, f'{ALICE}password = "{stored}"\n'))
    assert found.verdict is verdict
    assert stored not in found.finding
    if verdict is not PASS:
        assert "alice@example.org" in found.finding


def test_many_are_not_all_named():
    config = plain()
    text = "".join(f'[accounts."u{number}@example.org"]\npassword = "$1$salt$hash"\n' for number in range(9))
    (found,) = check_passwords(tables(config, text))
    assert "and 6 more" in found.finding
