"""The truth table of `relaying`, whole."""

import pytest

from mailserver.policy.relaying import Standing, refusal
from mailserver.policy.routing import (
    CyclicAlias,
    DanglingAlias,
    DisabledMailbox,
    Elsewhere,
    Here,
    UnknownMailbox,
)
from tests.fakes.directory import box

ROUTES = {
    "here": Here((box("alice@example.org"),), (), ()),
    "alias to outside": Here((), (box("a@far.example"),), ()),
    "elsewhere": Elsewhere(()),
    "unknown": UnknownMailbox(()),
    "disabled": DisabledMailbox(()),
    "dangling": DanglingAlias(()),
    "cyclic": CyclicAlias(()),
}


@pytest.mark.parametrize(
    ("route", "stranger", "trusted", "authenticated"),
    [
        ("here", None, None, None),
        ("alias to outside", None, None, None),
        ("elsewhere", "550 5.7.1", None, None),
        ("unknown", "550 5.1.1", "550 5.1.1", "550 5.1.1"),
        ("disabled", "550 5.2.1", "550 5.2.1", "550 5.2.1"),
        ("dangling", "550 5.1.1", "550 5.1.1", "550 5.1.1"),
        ("cyclic", "550 5.4.6", "550 5.4.6", "550 5.4.6"),
    ],
)
def test_the_table(route, stranger, trusted, authenticated):
    for standing, expected in zip(
        (Standing.STRANGER, Standing.TRUSTED_NETWORK, Standing.AUTHENTICATED),
        (stranger, trusted, authenticated),
        strict=True,
    ):
        reply = refusal(standing, ROUTES[route])
        assert (None if reply is None else f"{reply.code} {reply.enhanced}") == expected
