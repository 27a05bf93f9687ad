"""Practice accounts over a real folder, and what is shown of them."""

import stat
import tomllib
from pathlib import Path

import pytest

from mailserver.config import Config, load_config
from mailserver.practice import FILE_NAME, Place, PracticeAccount, make_practice_accounts, settings_text
from mailserver.store.accounts_edit import editing
from mailserver.store.passwords import Passwords
from tests.fakes.directory import box

ALICE, BOB = box("alice@example.test"), box("bob@example.test")
QUICK = Passwords(memory_kib=8, passes=1)


@pytest.fixture
def config(tmp_path) -> Config:
    path = tmp_path / "etc" / "mailserver.toml"
    path.parent.mkdir()
    path.write_text(
        'hostname = "mail.example.test"\ndomains = ["example.test"]\npostmaster = "alice@example.test"\n'
        '[practice]\naccounts = ["alice@example.test", "bob@example.test"]\n'
        '[listen]\nsmtp = ["tcp:2525:interface=127.0.0.1"]\nsubmission = []\nsubmissions = []\npop3 = []\npop3s = []\n'
    )
    return load_config(path)


def hashes(config):
    table = tomllib.loads(config.accounts.file.read_text())
    return {name: account["password"] for name, account in table["accounts"].items()}


def test_the_first_start_makes_accounts_with_passwords_that_fit(config):
    made = make_practice_accounts(config, QUICK)
    assert [account.mailbox for account in made] == [ALICE, BOB]
    for account in made:
        assert QUICK.check(hashes(config)[str(account.mailbox)], account.password).is_right
    path = config.storage.state / FILE_NAME
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert f"alice@example.test {made[0].password}\n" in path.read_text()
    assert stat.S_IMODE(config.storage.state.stat().st_mode) == 0o700


def test_the_second_start_keeps_them(config):
    first, before = make_practice_accounts(config, QUICK), hashes(config)
    assert make_practice_accounts(config, QUICK) == first
    assert hashes(config) == before


def test_a_password_that_its_owner_changed_is_not_shown(config):
    make_practice_accounts(config, QUICK)
    with editing(config.accounts.file) as document:
        document.set_password(ALICE, QUICK.hash("my own"))
    alice, bob = make_practice_accounts(config, QUICK)
    assert alice.password == ""
    assert bob.password != ""
    assert QUICK.check(hashes(config)["alice@example.test"], "my own").is_right


def test_an_account_that_was_there_before_stays_as_it_is(config):
    with editing(config.accounts.file) as document:
        document.add_account(ALICE, QUICK.hash("my own"))
    alice, bob = make_practice_accounts(config, QUICK)
    assert (alice.password, bool(bob.password)) == ("", True)


def test_a_crash_between_passwords_and_accounts_is_mended(config):
    """Crash state: the passwords are written, their accounts are not made yet."""
    first = make_practice_accounts(config, QUICK)
    config.accounts.file.unlink()
    assert make_practice_accounts(config, QUICK) == first
    assert set(hashes(config)) == {"alice@example.test", "bob@example.test"}


def test_an_account_that_was_removed_comes_back_with_its_password(config):
    first = make_practice_accounts(config, QUICK)
    with editing(config.accounts.file) as document:
        document.remove_account(BOB)
    assert make_practice_accounts(config, QUICK) == first


def test_without_practice_accounts_nothing_is_made(tmp_path, config):
    import attrs

    from mailserver.config import Practice

    assert make_practice_accounts(attrs.evolve(config, practice=Practice())) == ()
    assert not config.storage.state.exists()


PLACES = [
    Place("smtp", "localhost", 2525),
    Place("submission", "localhost", 2587),
    Place("submissions", "localhost", 2465),
    Place("pop3", "localhost", 2110),
    Place("pop3s", "localhost", 2995),
]
ACCOUNTS = (PracticeAccount(ALICE, "aaaaa-bbbbb"), PracticeAccount(BOB, ""))


def test_everything_a_mail_program_asks_for_is_shown():
    text = settings_text(ACCOUNTS, PLACES, Path("/var/state/tls/certificate.pem"))
    for words in (
        "alice@example.test  aaaaa-bbbbb",
        "bob@example.test    (a password of your own)",
        "Incoming (POP3)     localhost  2995  SSL/TLS",
        "Incoming (POP3)     localhost  2110  STARTTLS",
        "Outgoing (SMTP)     localhost  2465  SSL/TLS",
        "Outgoing (SMTP)     localhost  2587  STARTTLS",
        "/var/state/tls/certificate.pem",
        "swaks --server localhost:2525 --from stranger@outside.example --to alice@example.test\n",
        "--cacert /var/state/tls/certificate.pem --ssl-reqd --url smtp://localhost:2587",
        "curl -sS --cacert /var/state/tls/certificate.pem pop3s://localhost:2995/ --user alice@example.test:aaaaa",
    ):
        assert words in text


def test_with_a_certificate_of_the_owners_none_is_named():
    text = settings_text(ACCOUNTS, PLACES, None)
    assert "--cacert" not in text
    assert "self-signed" not in text


def test_services_that_are_off_are_left_out():
    text = settings_text(ACCOUNTS, [Place("smtp", "localhost", 2525), Place("pop3s", "localhost", 0)], None)
    assert "SSL/TLS" not in text
    assert "pop3s" not in text
    assert "2525" in text
