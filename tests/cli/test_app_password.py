"""`mailserver account app-password`: what stands in the accounts file, and what the operator reads."""

import json
import re
import tomllib

import pytest

from mailserver.ports import Use
from mailserver.store.app_passwords import fits
from mailserver.store.files import Files
from mailserver.store.last_use import LastUse, LastUseFile
from mailserver.store.scram_keys import make_keys, read_keys

ALICE = "alice@example.org"
PASSWORD = re.compile(r"password: ([a-z2-9]{5}(?:-[a-z2-9]{5}){3})\n")


@pytest.fixture
def alice(command):
    command.ok("account", "add", ALICE, "--password-stdin", input="correct horse\n")
    return command


def account(command):
    return tomllib.loads(command.accounts.read_text())["accounts"][ALICE]


def test_add_prints_one_password_once_and_stores_what_checks_it(alice):
    output = alice.ok("account", "app-password", "add", ALICE, "Phone")
    assert output.startswith(
        "alice@example.org has an app password for phone; log in as alice@example.org or alice+phone@example.org\n"
    )
    password = PASSWORD.search(output)[1]
    stored = account(alice)["devices"]["phone"]
    assert fits(stored["password"], password) and not fits(stored["password"], password.replace("-", ""))
    keys, own = read_keys(stored["scram"]), read_keys(account(alice)["scram"], account(alice)["password"])
    assert keys == make_keys(password, keys.salt)
    assert keys.salt == own.salt, "one salt for all passwords of an account"
    assert password not in alice.accounts.read_text()
    assert "only" not in stored and stored["created"].year >= 2025


def test_only(alice):
    assert "for sending only" in alice.ok("account", "app-password", "add", ALICE, "scanner", "--only", "submission")
    assert account(alice)["devices"]["scanner"]["only"] == "submission"
    made = json.loads(alice.ok("account", "app-password", "add", ALICE, "biff", "--only", "pop3", "--json"))
    assert made["only"] == "pop3" and made["login"] == "alice+biff@example.org"
    assert fits(account(alice)["devices"]["biff"]["password"], made["password"])


@pytest.mark.parametrize("name", ["", "my phone", "a+b", "a@b", "-x", "x-", "ü", "x" * 33, "a.b", "a\nb"])
def test_device_names_are_strict(alice, name):
    result = alice("account", "app-password", "add", ALICE, "--", name)
    assert result.exit_code == 2
    assert "a device is named with 1 to 32 small letters" in result.output


def test_a_device_is_made_once(alice):
    alice.ok("account", "app-password", "add", ALICE, "phone")
    assert alice.refused("account", "app-password", "add", ALICE, "PHONE") == (
        "alice@example.org has an app password for phone already; "
        "`mailserver account app-password revoke alice@example.org phone` ends it\n"
    )


def test_an_account_has_a_bounded_number(alice, monkeypatch):
    monkeypatch.setattr("mailserver.cli.app_password.MAX_DEVICES", 1)
    alice.ok("account", "app-password", "add", ALICE, "one")
    assert "revoke one that is not used" in alice.refused("account", "app-password", "add", ALICE, "two")


def test_list_shows_device_purpose_and_last_use(alice):
    alice.ok("account", "app-password", "add", ALICE, "phone")
    alice.ok("account", "app-password", "add", ALICE, "scanner", "--only", "submission")
    file = LastUseFile(alice.folder / "state", Files())
    file.write({(ALICE, "phone"): LastUse(1_750_000_000.0, "192.0.2.7", Use.POP3.value)})
    phone, scanner = (line.split("\t") for line in alice.ok("account", "app-password", "list", ALICE).splitlines())
    assert phone[:2] == ["phone", "everything"]
    assert phone[3] == "2025-06-15T15:06:40Z, pop3 from 192.0.2.7"
    assert scanner[:2] == ["scanner", "submission"] and scanner[3] == "never"
    shown = json.loads(alice.ok("account", "app-password", "list", ALICE, "--json"))
    assert shown[0]["last_used"] == {"at": "2025-06-15T15:06:40Z", "from": "192.0.2.7", "for": "pop3"}
    assert shown[1]["last_used"] is None and shown[1]["login"] == "alice+scanner@example.org"


def test_list_without_last_uses_says_why(alice):
    alice.ok("account", "app-password", "add", ALICE, "phone")
    (alice.folder / "state" / "last-use.json").write_text("{")
    result = alice("account", "app-password", "list", ALICE)
    assert result.exit_code == 0 and "phone" in result.stdout and "last uses are not shown" in result.stderr


def test_revoke(alice):
    before = alice.accounts.read_text()
    for name in ("phone", "laptop"):
        alice.ok("account", "app-password", "add", ALICE, name)
    assert alice.ok("account", "app-password", "revoke", ALICE, "phone") == (
        "the app password of alice@example.org for phone is revoked\n"
    )
    assert list(account(alice)["devices"]) == ["laptop"]
    assert alice.refused("account", "app-password", "revoke", ALICE, "phone") == (
        "alice@example.org has no app password for phone; it has laptop\n"
    )
    alice.ok("account", "app-password", "revoke", ALICE, "laptop")
    assert "devices" not in account(alice)
    assert tomllib.loads(before) == tomllib.loads(alice.accounts.read_text())


def test_unknown_account(command):
    for words in (("add", ALICE, "x"), ("list", ALICE), ("revoke", ALICE, "x")):
        assert command.refused("account", "app-password", *words) == "there is no account alice@example.org\n"
    assert command.refused("account", "require-app-passwords", ALICE) == "there is no account alice@example.org\n"


def test_own_password_switched_off_and_on(alice):
    result = alice("account", "require-app-passwords", ALICE)
    assert result.stdout == "alice@example.org logs in with app passwords only\n"
    assert "cannot log in" in result.stderr
    alice.ok("account", "app-password", "add", ALICE, "phone")
    assert alice.ok("account", "list").split("\t")[1] == "app passwords only"
    (shown,) = json.loads(alice.ok("account", "list", "--json"))
    assert shown["app_passwords"] == ["phone"] and shown["requires_app_passwords"]
    result = alice("account", "app-password", "revoke", ALICE, "phone")
    assert "cannot log in" in result.stderr
    assert alice.ok("account", "require-app-passwords", ALICE, "--off").endswith("with its own password too\n")
    assert alice.ok("account", "require-app-passwords", ALICE, "--off").endswith("too, as before\n")
    assert "require_app_passwords" not in account(alice)


def test_a_new_password_keeps_the_salt_of_the_devices(alice):
    alice.ok("account", "app-password", "add", ALICE, "phone")
    alice.ok("account", "passwd", ALICE, "--password-stdin", input="another horse\n")
    now = account(alice)
    own = read_keys(now["scram"], now["password"])
    assert own == make_keys("another horse", own.salt)
    assert own.salt == read_keys(now["devices"]["phone"]["scram"]).salt


def test_without_scram_no_keys_are_made(alice):
    alice.config.write_text(alice.config.read_text() + "[auth]\nscram = false\n")
    alice.ok("account", "passwd", ALICE, "--password-stdin", input="another horse\n")
    alice.ok("account", "app-password", "add", ALICE, "phone")
    assert "scram" not in account(alice) and "scram" not in account(alice)["devices"]["phone"]


def test_check_config_says_whether_scram_is_offered_and_who_holds_it_up(alice):
    assert "\nlogins: PLAIN, LOGIN and SCRAM\n" in alice.ok("check-config")
    alice.accounts.write_text(alice.accounts.read_text().replace("scram =", "# scram ="))
    waits = "\nlogins: PLAIN and LOGIN; SCRAM too, once these have logged in: alice@example.org\n"
    assert waits in alice.ok("check-config")
    alice.config.write_text(alice.config.read_text() + "[auth]\nscram = false\n")
    assert "\nlogins: PLAIN and LOGIN\n" in alice.ok("check-config")
