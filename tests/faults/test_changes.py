"""Accounts, lists and maildrops under power cuts and failures: old or new, never broken (design sections 4 and 5)."""

import contextlib
from pathlib import Path

import pytest

from mailserver.mail.address import Mailbox
from mailserver.ports import PeerTls, StorageTrouble
from mailserver.store.account_tables import AccountsError
from mailserver.store.accounts import AccountsFile
from mailserver.store.accounts_edit import editing
from mailserver.store.maildir import sweep
from mailserver.store.maildrop import open_snapshot
from mailserver.store.maildrop_index import NAME
from mailserver.store.maildrops import MaildirMaildrops
from mailserver.store.spool_json import Damaged
from mailserver.store.state_lock import StateLock
from mailserver.store.suppression import SuppressionFile, SuppressionList
from mailserver.store.tls_history import TlsHistoryFile
from tests.fakes.awaiting import run
from tests.fakes.directory import box
from tests.fakes.relay import AtOnce
from tests.faults.changes import Change, failures_of, power_cuts_of
from tests.faults.disk import NoSync
from tests.faults.server import HOST, Lost

DOMAIN = "example.org"
NOW = 1_750_000_000.0

# --- accounts.toml ----------------------------------------------------------------------------------------------------

COMMENT = "# the owner's own words\n"
ACCOUNTS = COMMENT + "\n\n".join(
    ["version = 1", f'[accounts."alice@{DOMAIN}"]\npassword = "1"', f'[accounts."joe@{DOMAIN}"]\npassword = "1"\n']
)
EDITS = [
    ("bob is there", lambda document: document.add_account(box("bob@example.org"), "1")),
    ("alice has another password", lambda document: document.set_password(box("alice@example.org"), "2")),
    ("joe is gone", lambda document: document.remove_account(box("joe@example.org"))),
    ("an alias", lambda document: document.add_targets("team@example.org", [box("alice@example.org")])),
    ("alice is disabled", lambda document: document.set_disabled(box("alice@example.org"), True)),
]


def make_accounts(root):
    Path(root, "etc").mkdir()
    Path(root, "etc/accounts.toml").write_text(ACCOUNTS)


def edit_accounts(root, disk):
    for name, edit in EDITS:
        with contextlib.suppress(AccountsError):
            with editing(root / "etc/accounts.toml", files=disk) as document:
                edit(document)
            disk.told(name)


def check_accounts(root, told):
    path = root / "etc/accounts.toml"
    file = AccountsFile(path, (DOMAIN,), Mailbox("postmaster", DOMAIN))
    try:
        file.load()
    except AccountsError as broken:
        raise Lost(str(broken)) from None
    text = path.read_text()
    true = {
        "bob is there": '"bob@example.org"' in text,
        "alice has another password": 'password = "2"' in text,
        "joe is gone": '"joe@example.org"' not in text,
        "an alias": "team@example.org" in text,
        "alice is disabled": "disabled = true" in text,
    }
    for name in told:
        if not true[name]:
            raise Lost(f"{name}: told, and not so:\n{text}")
    with editing(path, files=NoSync()) as document:
        document.add_account(box("zoe@example.org"), "1")
    text = path.read_text()
    if not text.startswith(COMMENT) or "zoe@" not in text or text.count("[accounts.") < 2:
        raise Lost(f"not the file it was:\n{text}")
    left = sorted(one.name for one in path.parent.iterdir())
    if left != ["accounts.toml", "accounts.toml.lock"]:
        raise Lost(f"left behind: {left}")


# --- lists of the state folder ----------------------------------------------------------------------------------------


def make_state(root):
    Path(root, "var").mkdir()


def change_suppression(root, disk):
    listed = SuppressionList(3, 1000.0)
    file = SuppressionFile(root / "var", disk)
    for number in range(4):
        listed.add(box(f"a{number}@far.example"), "root", "", NOW)
        with contextlib.suppress(OSError):
            file.write(listed.encode(NOW))
            disk.told(number)


def check_suppression(root, told):
    file, found = SuppressionFile(root / "var", NoSync()), SuppressionList(3, 1000.0)
    try:
        file.read(found)
    except Damaged as damage:
        raise Lost(str(damage)) from None
    names = {one.address for one in found.listed(NOW)}
    for number in told:
        if f"a{number}@far.example" not in names:
            raise Lost(f"a{number} is not on the list")
    found.add(box("z@far.example"), "root", "", NOW)
    file.write(found.encode(NOW))
    if [path.name for path in Path(root, "var").iterdir()] != ["suppression.json"]:
        raise Lost("something is left behind")


def change_history(root, disk):
    file = TlsHistoryFile(root / "var", disk)
    hosts = {}
    for number in range(3):
        hosts[f"mx{number}.far.example"] = PeerTls("TLSv1.3", NOW)
        with contextlib.suppress(OSError):
            file.write(hosts)
            disk.told(number)


def check_history(root, told):
    file = TlsHistoryFile(root / "var", NoSync())
    try:
        hosts = file.read()
    except Damaged as damage:
        raise Lost(str(damage)) from None
    for number in told:
        if f"mx{number}.far.example" not in hosts:
            raise Lost(f"mx{number} is forgotten")
    file.write(hosts)
    if [path.name for path in Path(root, "var").iterdir()] != ["tls-history.json"]:
        raise Lost("something is left behind")


def lock_state(root, disk):
    with StateLock(root / "var" / "new", "test", disk):
        disk.told("locked")


def check_lock(root, told):
    """The folder itself is all that has to last."""
    if told and not (root / "var" / "new").is_dir():
        raise Lost("the state folder is gone")
    StateLock(root / "var" / "new", "test", NoSync()).release()


# --- maildrops --------------------------------------------------------------------------------------------------------

FOLDER = "mail/example.org/alice"
# Ours with both sizes, two of another program's without, one that was read.
MAIL = {
    f"new/1750000001.M1P1Q1.{HOST},S=12,W=14": b"Subject: 1\n\n",
    "new/1750000002.foreign": b"Subject: 2\n\n",
    "cur/1750000003.foreign:2,S": b"Subject: 3\n\n",
    f"new/1750000004.M4P1Q4.{HOST},S=12,W=14": b"Subject: 4\n\n",
    f"cur/1750000005.M5P1Q5.{HOST},S=12,W=14:2,S": b"Subject: 5\n\n",
}
IMPORTED = "mailserver-index 1\nu brought-along-5 1750000005.M5P1Q5.mail.example.org\n"
UNIQUE = {
    b"Subject: 1\n\n": f"1750000001.M1P1Q1.{HOST}",
    b"Subject: 2\n\n": "1750000002.foreign",
    b"Subject: 3\n\n": "1750000003.foreign",
    b"Subject: 4\n\n": f"1750000004.M4P1Q4.{HOST}",
    b"Subject: 5\n\n": "brought-along-5",
}


def make_maildrop(root):
    for place in ("tmp", "new", "cur"):
        Path(root, FOLDER, place).mkdir(parents=True)
    for name, octets in MAIL.items():
        Path(root, FOLDER, name).write_bytes(octets)
    Path(root, FOLDER, NAME).write_text(IMPORTED)


class _Account:
    mailbox = box("alice@example.org")


def quit_session(root, disk):
    """Numbers 1 and 2 are deleted at QUIT, 4 was fetched; another session then measures a size anew."""
    maildrops = MaildirMaildrops(AtOnce(), disk, lambda mailbox: str(root / FOLDER), lambda event: None)
    maildrop = run(maildrops.open(_Account))
    assert len(maildrop.sizes) == len(MAIL)
    for number in (1, 2, 4):
        run(maildrop.read(number))
    with contextlib.suppress(StorageTrouble):
        if run(maildrop.update({1, 2}, {1, 2, 4})) == 0:
            disk.told("deleted")
    maildrop = run(maildrops.open(_Account))
    run(maildrop.measured(1, 999))
    maildrop.close()


def check_maildrop(root, told):
    sweep(root / "mail", HOST, NOW, NoSync())
    snapshot = open_snapshot(NoSync(), str(root / FOLDER))
    found = {}
    for number, unique_id in enumerate(snapshot.unique_ids(), 1):
        octets = snapshot.read(number)
        if octets in found:
            raise Lost(f"{octets} is there twice")
        found[octets] = unique_id
        if snapshot.sizes[number - 1] not in (14, 999):
            raise Lost(f"{octets} has the size {snapshot.sizes[number - 1]}")
    for octets, unique_id in UNIQUE.items():
        may_be_gone = octets[9:10] in b"12"
        if octets not in found:
            if not may_be_gone:
                raise Lost(f"{octets} is gone")
        elif "deleted" in told and may_be_gone:
            raise Lost(f"{octets} was deleted, and is there again")
        elif found[octets] != unique_id:
            raise Lost(f"{octets} has another unique-id: {found[octets]}")
    if any(note for note in snapshot.notes):
        raise Lost(f"{snapshot.notes}")
    left = [path.name for path in Path(root, FOLDER).iterdir() if path.name.startswith(f"{NAME}.")]
    snapshot.remember_sizes({1: 14})
    left = [path.name for path in Path(root, FOLDER).iterdir() if path.name.startswith(f"{NAME}.")]
    if left:
        raise Lost(f"left behind: {left}")


CHANGES = {
    change.name: change
    for change in (
        Change("account edits", make_accounts, edit_accounts, check_accounts, (AccountsError,)),
        Change("suppression list", make_state, change_suppression, check_suppression),
        Change("tls history", make_state, change_history, check_history),
        Change("state lock", make_state, lock_state, check_lock),
        Change("POP3 QUIT and index", make_maildrop, quit_session, check_maildrop),
    )
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_power_cut_at_any_point_leaves_the_old_or_the_new(name, base):
    points, _ = power_cuts_of(CHANGES[name], base)
    assert points > 3


@pytest.mark.parametrize("name", CHANGES)
def test_a_failure_at_any_point_leaves_the_old_or_the_new(name, base):
    points, _ = failures_of(CHANGES[name], base, 1 if name == "account edits" else 5)
    assert points > 3
