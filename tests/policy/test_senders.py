"""Which addresses a login may send from."""

import dataclasses

import pytest

from mailserver.policy.senders import may_send_as, sending_addresses
from tests.fakes.directory import MemoryDirectory, box

DIRECTORY = MemoryDirectory(
    domains=("example.org", "catch.example"),
    aliases={
        "sales@example.org": ["alice@example.org", "bob@example.org"],
        "team@example.org": ["sales@example.org"],
        "bobs@example.org": ["bob@example.org"],
        "@catch.example": ["alice@example.org"],
    },
)
ALICE = DIRECTORY.accounts["alice@example.org"]
WIDE = dataclasses.replace(ALICE, may_send_as=("News@Partner.example", "@guest.example"))


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("alice@example.org", True),
        ("Alice@EXAMPLE.org", True),
        ("alice+shop@example.org", True),
        ("sales@example.org", True),
        ("sales+x@example.org", True),
        ("team@example.org", True),  # through another alias
        ("anything@catch.example", True),
        ("postmaster@example.org", True),  # its mail goes to alice
        ("bob@example.org", False),
        ("bob+alice@example.org", False),
        ("bobs@example.org", False),
        ("nobody@example.org", False),
        ("alice@far.example", False),
        ("alice@sub.example.org", False),
        ("alice@catch.example", True),
        ("news@partner.example", False),
        ('"alice@example.org"@far.example', False),
        ("postmaster", True),
    ],
)
def test_senders(address, expected):
    assert may_send_as(ALICE, box(address), DIRECTORY) is expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("news@partner.example", True),
        ("news+x@partner.example", True),
        ("other@partner.example", False),
        ("any@guest.example", True),
        ("any@sub.guest.example", False),
        ("bob@example.org", False),
    ],
)
def test_may_send_as_widens_it(address, expected):
    assert may_send_as(WIDE, box(address), DIRECTORY) is expected


def test_the_text_of_a_refusal_lists_what_may_be_used_and_stays_short():
    assert sending_addresses(ALICE, DIRECTORY) == "alice@example.org, sales@example.org, team@example.org"
    many = MemoryDirectory(aliases={f"a{n}@example.org": ["alice@example.org"] for n in range(9)})
    assert sending_addresses(ALICE, many).endswith("a3@example.org and 5 more")
