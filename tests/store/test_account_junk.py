"""The key `junk` of an account."""

from pathlib import Path

import pytest

from mailserver.mail.junk import JunkDelivery
from mailserver.policy.junk import JunkFolders
from mailserver.store.account_tables import AccountsError, read_tables
from tests.fakes.directory import box

ALICE = box("alice@example.org")


def tables(line):
    octets = f'[accounts."alice@example.org"]\n{line}\n'.encode()
    return read_tables(octets, Path("accounts.toml"), ["example.org"], ALICE)


@pytest.mark.parametrize(
    ("line", "junk", "folder"),
    [
        ("", None, "Junk"),
        ('junk = "folder"', JunkDelivery.FOLDER, "Junk"),
        ('junk = "inbox"', JunkDelivery.INBOX, ""),
    ],
)
def test_an_account_may_have_its_own_wish(line, junk, folder):
    found = tables(line)
    assert found.account(ALICE).junk is junk
    assert JunkFolders(found, JunkDelivery.FOLDER)(ALICE) == folder


@pytest.mark.parametrize("value", ['"spam"', "true", "[]", '""'])
def test_a_wrong_wish_is_told(value):
    with pytest.raises(AccountsError) as error:
        tables(f"junk = {value}")
    assert 'accounts."alice@example.org".junk: ' in str(error.value)
    assert 'must be "inbox" or "folder"' in str(error.value)
