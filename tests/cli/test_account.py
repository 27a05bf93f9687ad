"""`mailserver account`: the accounts file after each command, and what the operator reads."""

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
import tomllib

import pytest

from mailserver.store.passwords import Passwords
from tests.cli.conftest import Command

GENERATED = re.compile("password: ([a-z2-9]{5}(?:-[a-z2-9]{5}){3})\n")


def stored(command: Command, address: str = "alice@example.org") -> str:
    return tomllib.loads(command.accounts.read_text())["accounts"][address]["password"]


def test_add_makes_a_password_when_nobody_can_be_asked(command):
    output = command.ok("account", "add", "alice@example.org")
    assert output.startswith("alice@example.org is there: it gets mail, and logs in with this address\npassword: ")
    password = GENERATED.search(output)[1]
    assert Passwords().check(stored(command), password).is_right
    assert command.accounts.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("octets", "password"),
    [
        (b"long enough it is\n", "long enough it is"),
        (b"  blanks count  \r\nnot this\n", "  blanks count  "),
        ("pässwörter".encode(), "pässwörter"),
    ],
)
def test_add_reads_the_first_line_of_standard_input(command, octets, password):
    output = command.ok("account", "add", "alice@example.org", "--password-stdin", input=octets)
    assert "password" not in output
    assert Passwords().check(stored(command), password).is_right


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (b"", "standard input has no password on its first line\n"),
        (b"\nsecond line\n", "standard input has no password on its first line\n"),
        (b"\xff\xfe\n", "Password: standard input is not UTF-8\n"),
        (b"x" * 1001, "a password has at most 1000 octets, and no NUL\n"),
        (b"a\0b\n", "a password has at most 1000 octets, and no NUL\n"),
    ],
)
def test_add_refuses_what_is_no_password(command, octets, text):
    assert command.refused("account", "add", "alice@example.org", "--password-stdin", input=octets) == text
    assert not command.accounts.exists()


def test_weak_password_is_warned_of_and_taken(command):
    result = command("account", "add", "alice@example.org", "--password-stdin", input="secret\n")
    assert result.exit_code == 0
    assert result.stderr == (
        "warning: this password is easily guessed: it is short: 6 characters; 10 or more are better\n"
    )
    assert Passwords().check(stored(command), "secret").is_right


def test_add_refuses_a_domain_that_is_not_ours_and_names_the_nearest(command):
    assert command.refused("account", "add", "alice@exampel.org") == (
        "exampel.org is not a domain of this server (did you mean alice@example.org?); etc/mailserver.toml has "
        'domains = ["example.org", "example.net"]\n'
    )
    assert command.refused("account", "add", "alice@far.invalid") == (
        'far.invalid is not a domain of this server; etc/mailserver.toml has domains = ["example.org", "example.net"]\n'
    )


def test_add_refuses_an_account_that_exists_in_any_case(command):
    command.ok("account", "add", "alice@example.org")
    before = command.accounts.read_text()
    assert command.refused("account", "add", "ALICE@Example.ORG") == (
        "ALICE@example.org exists already; `mailserver account passwd ALICE@example.org` changes its password\n"
    )
    assert command.accounts.read_text() == before


def test_add_tells_when_an_alias_loses_its_effect(command):
    command.ok("account", "add", "alice@example.org")
    command.ok("alias", "add", "bob@example.org", "alice@example.org")
    result = command("account", "add", "bob@example.org")
    assert result.exit_code == 0
    assert result.stderr == (
        "warning: the alias bob@example.org has no effect any more, because the account takes its mail\n"
    )


ADDRESSES = [
    ("alice", "Error: alice: an address has the form local-part@domain\n"),
    ("postmaster", "Error: postmaster: an address with a domain is needed, such as postmaster@example.org\n"),
    ("@example.org", "Error: @example.org: the local-part of the address is empty\n"),
    ("alice@", "Error: alice@: the domain of the address is not valid\n"),
    ("a b@example.org", "Error: a b@example.org: an address has the form local-part@domain\n"),
    ("alice@example.org\n", "Error: alice@example.org?: control characters are not allowed in an address\n"),
    ("../x@example..org", "Error: ../x@example..org: the domain of the address is not valid\n"),
    ("\x1b[2J@example.org", "Error: ?[2J@example.org: control characters are not allowed in an address\n"),
    ("", "Error: : an address has the form local-part@domain\n"),
]


@pytest.mark.parametrize("verb", ["add", "passwd", "disable", "enable", "remove"])
@pytest.mark.parametrize(("address", "text"), ADDRESSES, ids=[ascii(row[0]) for row in ADDRESSES])
def test_what_is_no_address_is_asked_the_wrong_way(command, verb, address, text):
    result = command("account", verb, address)
    assert result.exit_code == 2
    assert result.stderr.endswith(text)
    assert not command.accounts.exists()


def test_odd_addresses_stay_inside_the_maildirs(command):
    command.ok("account", "add", '"../../etc/x"@example.org')
    command.ok("account", "add", "jörg@example.net")
    listed = json.loads(command.ok("account", "list", "--json"))
    assert {one["maildir"].replace(str(command.folder), "") for one in listed} == {
        "/mail/example.org/%2e.%2f..%2fetc%2fx",
        "/mail/example.net/jörg",
    }


def test_passwd_changes_the_password_of_a_disabled_account_too(command):
    command.ok("account", "add", "alice@example.org")
    before = stored(command)
    assert command.ok("account", "disable", "alice@example.org") == "alice@example.org is disabled\n"
    output = command.ok("account", "passwd", "Alice@example.org", "--password-stdin", input="another long one\n")
    assert output == "Alice@example.org has a new password, and is still disabled\n"
    assert stored(command) != before
    assert Passwords().check(stored(command), "another long one").is_right
    assert GENERATED.search(command.ok("account", "passwd", "alice@example.org"))


def test_disable_and_enable_say_what_was(command):
    command.ok("account", "add", "alice@example.org")
    before = command.accounts.read_text()
    assert command.ok("account", "enable", "alice@example.org") == "alice@example.org was enabled already\n"
    assert command.ok("account", "disable", "alice@example.org") == "alice@example.org is disabled\n"
    assert command.ok("account", "disable", "alice@example.org") == "alice@example.org was disabled already\n"
    assert command.ok("account", "enable", "alice@example.org") == "alice@example.org is enabled\n"
    assert command.accounts.read_text() == before


@pytest.mark.parametrize("verb", ["passwd", "disable", "enable", "remove"])
def test_unknown_account_is_refused(command, verb):
    assert command.refused("account", verb, "carol@example.org") == "there is no account carol@example.org\n"
    command.ok("alias", "add", "carol@example.org", "x@far.example")
    assert command.refused("account", verb, "carol@example.org") == (
        "there is no account carol@example.org; it is an alias, see `mailserver route carol@example.org`\n"
    )


def test_remove_leaves_the_mail_and_says_where_and_which_aliases_dangle(command):
    command.ok("account", "add", "alice@example.org")
    command.ok("alias", "add", "sales@example.org", "alice@example.org", "x@far.example")
    folder = command.folder / "mail" / "example.org" / "alice"
    folder.mkdir(parents=True)
    result = command("account", "remove", "alice@example.org")
    assert result.exit_code == 0
    assert result.stdout == f"alice@example.org is removed\nits mail is still in {folder}\n"
    assert result.stderr == (
        "warning: the alias sales@example.org still names it; "
        "`mailserver alias remove sales@example.org alice@example.org` mends that\n"
    )
    assert folder.is_dir()


def test_list_shows_state_and_aliases(command):
    assert command.ok("account", "list") == ""
    for name in ("bob", "alice", "carol"):
        command.ok("account", "add", f"{name}@example.org")
    command.ok("account", "disable", "bob@example.org")
    command.ok("alias", "add", "sales@example.org", "alice@example.org", "bob@example.org")
    text = re.sub(r'(carol@example.org"\]\n)password = ".*"\n', r"\1", command.accounts.read_text())
    command.accounts.write_text(text)
    assert command.ok("account", "list") == (
        "alice@example.org\tenabled\tsales@example.org\n"
        "bob@example.org\tdisabled\tsales@example.org\n"
        "carol@example.org\tno password\t\n"
    )
    assert json.loads(command.ok("account", "list", "--json"))[1] == {
        "address": "bob@example.org",
        "enabled": False,
        "has_password": True,
        "app_passwords": [],
        "requires_app_passwords": False,
        "has_scram_keys": True,
        "may_send_as": [],
        "aliases": ["sales@example.org"],
        "maildir": f"{command.folder}/mail/example.org/bob",
    }
    assert "argon2" not in command.ok("account", "list", "--json")


def test_list_warns_of_a_postmaster_who_does_not_exist(command):
    assert command("account", "list").stderr == (
        'warning: postmaster: "alice@example.org": there is no such account yet; '
        "`mailserver account add alice@example.org` makes it\n"
    )


def test_broken_accounts_file_is_told_and_left_alone(command):
    command.accounts.write_text('[accounts."alice@example.org"]\ndisabled = 1\n')
    text = 'etc/accounts.toml: accounts."alice@example.org".disabled: 1: must be true or false, without quotes\n'
    for words in (
        ("account", "list"),
        ("account", "add", "bob@example.org"),
        ("account", "disable", "alice@example.org"),
        ("alias", "list"),
        ("alias", "remove", "x@example.org"),
        ("route", "alice@example.org"),
        ("check-config",),
    ):
        assert command.refused(*words) == text
    assert command.accounts.read_text().endswith("disabled = 1\n")


# --- through a real process -------------------------------------------------------------------------------------------


def start(command: Command, *words: str, **options) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-m", "mailserver", "--config", str(command.config), *words], **options)


def test_eight_processes_at_once_lose_nothing(command):
    command.ok("account", "add", "alice@example.org")
    children = []
    for number in range(8):
        child = start(
            command,
            "account",
            "add",
            f"user{number}@example.org",
            "--password-stdin",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        child.stdin.write(b"a long password\n")
        child.stdin.close()
        children.append(child)
    for child in children:
        assert b"is there" in child.stdout.read()
        child.stdout.close()
        assert child.wait(60) == 0
    assert len(json.loads(command.ok("account", "list", "--json"))) == 9


def _type(child, terminal: int, lines: list[bytes]) -> bytes:
    """Answer each prompt with the next line; everything the terminal showed."""
    shown = b""
    deadline = time.monotonic() + 60
    while child.poll() is None and time.monotonic() < deadline:
        if not select.select([terminal], [], [], 0.1)[0]:
            continue
        try:
            shown += os.read(terminal, 4096)
        except OSError:  # the other end is closed
            break
        if lines and shown.endswith(b": "):
            os.write(terminal, lines.pop(0))
    child.wait(60)
    return shown.replace(b"\r\n", b"\n")


@pytest.mark.parametrize(
    ("lines", "password"), [([b"a long password\n"] * 2, "a long password"), ([b"\n", b"\n"], None)]
)
def test_terminal_is_asked_twice_and_shows_no_password(command, lines, password):
    terminal, slave = pty.openpty()
    child = start(command, "account", "add", "alice@example.org", stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    shown = _type(child, terminal, list(lines))
    os.close(terminal)
    assert child.returncode == 0
    text = shown.decode()
    assert text.startswith("Password (empty: one is made): ")
    if password:
        assert "Again: " in text
        assert password not in text
    else:
        password = GENERATED.search(text)[1]
    assert Passwords().check(stored(command), password).is_right
