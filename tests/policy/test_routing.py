"""Where an address leads, and how that is told."""

import dataclasses

import pytest

from mailserver.policy.routing import (
    CyclicAlias,
    DanglingAlias,
    DisabledMailbox,
    Elsewhere,
    Here,
    UnknownMailbox,
    find_route,
)
from tests.fakes.directory import MemoryDirectory, box

ALIASES = {
    "sales@example.org": ["alice@example.org", "bob@example.org"],
    "all@example.org": ["sales@example.org", "alice@example.org", "friend@far.example"],
    "half@example.org": ["gone@example.org", "bob@example.org"],
    "dangling@example.org": ["gone@example.org"],
    "self@example.org": ["self@example.org"],
    "ring1@example.org": ["ring2@example.org"],
    "ring2@example.org": ["ring1@example.org"],
    "ring-and-alice@example.org": ["ring-and-alice@example.org", "alice@example.org"],
    "out@example.org": ["friend@far.example"],
    "to-disabled@example.org": ["dora@example.org"],
    "detail@example.org": ["alice+lists@example.org"],
    "nobody@example.org": [],
    "@catch.example": ["bob@example.org"],
}


def directory(**changes):
    made = MemoryDirectory(
        domains=("example.org", "catch.example"),
        accounts=("alice@example.org", "bob@example.org", "dora@example.org", "plus+sign@example.org"),
        aliases=ALIASES,
    )
    dora = box("dora@example.org")
    made.accounts[dora.folded] = dataclasses.replace(made.accounts[dora.folded], is_enabled=False)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize(
    ("address", "mailboxes", "outside"),
    [
        ("alice@example.org", ["alice@example.org"], []),
        ("ALICE@Example.ORG", ["alice@example.org"], []),
        ('"alice"@example.org', ["alice@example.org"], []),
        ("alice+news@example.org", ["alice@example.org"], []),
        ("alice+a+b@example.org", ["alice@example.org"], []),
        ("plus+sign@example.org", ["plus+sign@example.org"], []),  # the exact address comes first
        ("sales@example.org", ["alice@example.org", "bob@example.org"], []),
        ("sales+x@example.org", ["alice@example.org", "bob@example.org"], []),
        ("all@example.org", ["alice@example.org", "bob@example.org"], ["friend@far.example"]),
        ("half@example.org", ["bob@example.org"], []),  # one member is gone, the others still get it
        ("ring-and-alice@example.org", ["alice@example.org"], []),
        ("out@example.org", [], ["friend@far.example"]),
        ("detail@example.org", ["alice@example.org"], []),
        ("postmaster", ["alice@example.org"], []),
        ("PostMaster@example.org", ["alice@example.org"], []),
        ("abuse@example.org", ["alice@example.org"], []),
        ("postmaster@catch.example", ["alice@example.org"], []),  # before the catch-all
        ("anyone@catch.example", ["bob@example.org"], []),
        ("any+one@catch.example", ["bob@example.org"], []),
    ],
)
def test_address_reaches(address, mailboxes, outside):
    route = find_route(box(address), directory())
    assert isinstance(route, Here)
    assert [str(found) for found in route.mailboxes] == mailboxes
    assert [str(found) for found in route.outside] == outside
    assert route.steps


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("alice@far.example", Elsewhere),
        ("alice@sub.example.org", Elsewhere),
        ("alice@[192.0.2.1]", Elsewhere),
        ("carol@example.org", UnknownMailbox),
        ("+news@example.org", UnknownMailbox),
        ("alice%far.example@example.org", UnknownMailbox),
        ("far.example!alice@example.org", UnknownMailbox),
        ('"alice@far.example"@example.org', UnknownMailbox),
        ('"../alice"@example.org', UnknownMailbox),
        ("dora@example.org", DisabledMailbox),
        ("to-disabled@example.org", DisabledMailbox),
        ("dangling@example.org", DanglingAlias),
        ("nobody@example.org", DanglingAlias),
        ("self@example.org", CyclicAlias),
        ("ring1@example.org", CyclicAlias),
    ],
)
def test_address_reaches_nobody_here(address, kind):
    route = find_route(box(address), directory())
    assert isinstance(route, kind)
    assert route.steps


def test_an_account_or_alias_named_postmaster_comes_before_the_role():
    own = MemoryDirectory(aliases={"postmaster@example.org": ["bob@example.org"]})
    route = find_route(box("postmaster@example.org"), own)
    assert isinstance(route, Here)
    assert route.mailboxes == (box("bob@example.org"),)


@pytest.mark.parametrize(
    "postmaster", ["gone@example.org", "dora@example.org", "self@example.org", "abuse@example.org"]
)
def test_roles_are_accepted_even_when_the_configured_postmaster_reaches_nobody(postmaster):
    """RFC 5321 4.5.1."""
    route = find_route(box("postmaster@example.org"), directory(postmaster=lambda: box(postmaster)))
    assert isinstance(route, Here)
    assert route.mailboxes == (box(postmaster),)


def test_a_postmaster_whose_alias_leads_back_to_a_role_ends():
    looping = MemoryDirectory(aliases={"boss@example.org": ["abuse@example.org"]})
    looping.postmaster = lambda: box("boss@example.org")
    assert isinstance(find_route(box("postmaster@example.org"), looping), Here)


def test_a_long_chain_of_aliases_ends():
    chain = {f"a{n}@example.org": [f"a{n + 1}@example.org"] for n in range(5_000)}
    chain["a5000@example.org"] = ["alice@example.org"]
    route = find_route(box("a0@example.org"), MemoryDirectory(aliases=chain))
    assert isinstance(route, Here)
    assert route.mailboxes == (box("alice@example.org"),)


def test_steps_read_as_an_explanation():
    route = find_route(box("half@example.org"), directory())
    assert route.steps == (
        "half@example.org is taken by the alias half@example.org, which leads to gone@example.org, bob@example.org",
        "gone@example.org is neither an account nor an alias",
        "bob@example.org is an account",
    )
