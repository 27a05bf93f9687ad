"""`mailserver backup` and `mailserver restore` as somebody would type them."""

import json
import os

import pytest

from mailserver.store.state_lock import StateLock

LETTER = b"Message-ID: <one@example.net>\nSubject: hello\n\nIt works.\n"
NAME = "1.M1P1Q1.host,S=56,W=60"


@pytest.fixture
def house(command):
    """The command, with a letter of alice's and a message in the queue."""
    inbox = command.folder / "mail" / "example.org" / "alice" / "cur"
    inbox.mkdir(parents=True)
    (inbox / f"{NAME}:2,S").write_bytes(LETTER)
    messages = command.folder / "state" / "queue" / "messages"
    messages.mkdir(parents=True)
    (messages / "0000000000001").write_text("a message")
    command.accounts.write_text('[accounts."alice@example.org"]\npassword = "x"\n')
    command.letter = inbox / f"{NAME}:2,S"
    command.backups = command.folder / "backups"
    return command


def backup(house, *more):
    return json.loads(house.ok("backup", str(house.backups), "--json", *more))


def test_a_backup_tells_what_it_has(house):
    text = house.ok("backup", str(house.backups))
    assert "1 letters, 1 messages in the queue" in text
    made = backup(house)
    assert (made["letters"], made["queued"], made["linked"]) == (1, 1, 2)
    rows = json.loads(house.ok("restore", str(house.backups), "--list", "--json"))
    assert [(row["letters"], row["queued"], row["hostname"]) for row in rows] == [(1, 1, "mail.example.org")] * 2
    assert house.ok("restore", str(house.backups), "--list").count("mail.example.org") == 2


def test_old_ones_go(house):
    backup(house)
    made = backup(house, "--keep", "1")
    assert len(made["removed"]) == 1
    assert "removed: " in house.ok("backup", str(house.backups), "--keep", "1")


def test_a_backup_is_verified(house):
    made = backup(house)
    assert "none damaged" in house.ok("restore", str(house.backups), "--verify")
    path = f"{made['folder']}/maildirs/example.org/alice/cur/{NAME}:2,S"
    with open(path, "ab") as file:
        file.write(b"!")
    result = house("restore", str(house.backups), "--verify")
    assert result.exit_code == 1
    assert f"{NAME}:2,S: it is not what was written" in result.stdout
    answer = json.loads(house("restore", made["folder"], "--verify", "--json").stdout)
    assert len(answer["damage"]) == 1
    house.letter.unlink()
    assert "is damaged" in house.refused("restore", made["folder"], "--all", "--force")
    assert not house.letter.exists()


def test_a_letter_comes_back_and_an_older_backup_is_asked_for_it(house):
    backup(house)
    house.letter.unlink()
    backup(house)
    assert "has no letters of alice@example.org" in house.refused(
        "restore", str(house.backups), "--account", "alice@example.org"
    )
    text = house.ok("restore", str(house.backups), "--message", "<one@example.net>", "--account", "Alice@example.org")
    assert "1 letters brought back; 0 were there" in text
    assert house.letter.read_bytes() == LETTER
    again = json.loads(house.ok("restore", str(house.backups), "--message", NAME, "--json"))
    assert (again["letters"], again["there"]) == (0, 1)
    assert "no backup in backups has a letter 2.x" in house.refused("restore", str(house.backups), "--message", "2.x")


def test_a_backup_that_cannot_be_read_does_not_hide_a_letter_in_an_older_one(house):
    backup(house)
    house.letter.unlink()
    newest = backup(house)["folder"]
    with open(f"{newest}/manifest.json", "w") as file:
        file.write("damaged")
    result = house("restore", str(house.backups), "--message", NAME)
    assert result.exit_code == 0
    assert "manifest.json is damaged" in result.stderr
    assert house.letter.read_bytes() == LETTER


def test_an_account_comes_back(house):
    made = backup(house)
    house.letter.unlink()
    with StateLock(house.folder / "state", "server"):
        text = house.ok("restore", made["folder"], "--account", "alice@example.org")
    assert "1 letters brought back" in text
    assert house.letter.read_bytes() == LETTER


def test_everything_comes_back_only_into_empty_folders_of_a_stopped_server(house):
    backup(house)
    words = ("restore", str(house.backups), "--all")
    refusal = house.refused(*words)
    assert "mail, state, etc/accounts.toml: not empty. --force adds what is missing" in refusal
    with StateLock(house.folder / "state", "server"):
        assert "stop the server first" in house.refused(*words, "--force")
    house.letter.unlink()
    house.accounts.write_text("")
    assert "1 letters" in house.ok(*words, "--force")
    assert house.letter.exists()
    assert "alice" in house.accounts.read_text()


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--list", "--all"),
        ("--all", "--account", "alice@example.org"),
        ("--force", "--list"),
        ("--account", "alice"),
    ],
)
def test_what_cannot_be_meant_is_a_question(house, words):
    assert house("restore", str(house.backups), *words).exit_code == 2


def test_where_there_is_nothing_that_is_told(house):
    house.backups.mkdir()
    for words in (("--verify",), ("--all",), ("--account", "alice@example.org")):
        assert "backups holds no backup" in house.refused("restore", str(house.backups), *words)
    assert "no such file" in house.refused("restore", str(house.folder / "missing"), "--list")


def test_a_place_that_will_not_do_is_named(house):
    assert "there is no backup: mail/b lies within" in house.refused("backup", str(house.folder / "mail" / "b"))
    (house.folder / "file").write_text("")
    assert "file" in house.refused("backup", str(house.folder / "file"))
    assert not os.path.exists(house.folder / "mail" / "b")


def test_mail_left_with_sendmail_is_told_of(house):
    drop = house.folder / "drop"
    drop.mkdir()
    (drop / "left").write_text("")
    house.config.write_text(house.config.read_text() + '[sendmail]\ndrop = "../drop"\n')
    result = house("backup", str(house.backups))
    assert result.exit_code == 0
    assert "1 messages in" in result.stderr
