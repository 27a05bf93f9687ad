"""Names that look alike, and names that mean something to a file system, an SMTP reader or a shell.

One rule for all: whether two spellings are one mailbox is decided once (`Mailbox.folded`), and everything follows it:
the tables, the login, the folder. So nobody gets a folder, or a login, by a spelling of somebody else's name.
"""

import sys
import unicodedata
from pathlib import Path

import pytest

from mailserver.mail.address import Mailbox, parse_mailbox
from mailserver.store.account_tables import AccountsError, read_tables
from mailserver.store.paths import maildir_path

ROOT = Path("/mail")


def box(local):
    found = parse_mailbox(f"{local}@example.org")
    assert isinstance(found, Mailbox), found
    return found


@pytest.mark.parametrize(
    ("one", "other", "are_one"),
    [
        ("Kevin", "kevin", True),
        ("\u212aevin", "kevin", True),  # the Kelvin sign is canonically K
        ("caf\u00e9", "cafe\u0301", True),
        ("CAF\u00c9", "cafe\u0301", True),
        ("\u1e9e", "\u00df", True),  # capital sharp s
        ("stra\u00dfe", "strasse", False),
        ("\u017fam", "sam", False),  # long s is S in upper case, and nobody asks for upper case here
        ("\u0130stan", "istan", False),  # Turkish dotted I
        ("\u0131stan", "istan", False),
        ("\u0430lice", "alice", False),  # Cyrillic
        ("\uff41lice", "alice", False),  # full width: compatible, not canonical
        ("\ufb01n", "fin", False),
        ("al\u00adice", "alice", False),  # a soft hyphen cannot be seen
        ("al\u200bice", "alice", False),
        ('"alice"', "alice", True),
        ('"a.lice"', "a.lice", True),
        ('"alice "', "alice", False),
        ("alice.", "alice", False),
    ],
)
def test_spellings_of_one_mailbox_share_a_folder_and_all_others_do_not(one, other, are_one):
    first, second = box(one), box(other)
    assert (first.folded == second.folded) is are_one
    assert (maildir_path(ROOT, first) == maildir_path(ROOT, second)) is are_one


def test_two_accounts_that_are_one_mailbox_are_an_error():
    text = '[accounts."\u212aevin@example.org"]\n[accounts."kevin@example.org"]\n'
    with pytest.raises(AccountsError):
        read_tables(text.encode(), Path("accounts.toml"), ["example.org"], box("kevin"))


def test_folding_what_is_folded_changes_nothing_for_any_character():
    """Or a name would be filed under one key, and looked up under another."""
    for code in range(0x80, sys.maxunicode + 1):
        char = chr(code)
        if char.lower() != char or unicodedata.normalize("NFC", char) != char:
            found = parse_mailbox(f"x{char}y@example.org")
            if isinstance(found, Mailbox):
                assert Mailbox(found.folded.removesuffix("@example.org"), "example.org").folded == found.folded, hex(
                    code
                )


@pytest.mark.parametrize(
    "local",
    [
        "new", "cur", "tmp", ".", "..", "...", ".Junk", "../root", "a/b", "/etc", "a\\b", "%2e%2e", "%", "%~", "-rf",
        "|cmd", ":include:/etc/passwd", "mailserver-index", "CON", "x" * 255, "\u00e9" * 127, "a\u2215b", "a\uff0fb",
    ],
)  # fmt: skip
def test_no_name_leaves_its_place_below_the_root(local):
    path = maildir_path(ROOT, Mailbox(local, "example.org"))
    assert path.parent == ROOT / "example.org"
    name = path.name
    assert name not in ("", ".", "..") and not name.startswith(".") and "/" not in name
    assert len(name.encode()) <= 255
