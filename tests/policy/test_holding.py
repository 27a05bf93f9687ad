"""Who is held by which rule."""

import pytest

from mailserver.mail.envelope import Envelope, Recipient
from mailserver.mail.trace import is_of_copies, is_our_own, login_of, source_of_copies, source_text
from mailserver.policy.holding import HoldRule, Pattern, rules_that_hold
from tests.fakes.directory import box

ALICE, BOB, EVE = "alice@example.org", "bob@example.net", "eve@example.com"


def envelope(sender=ALICE, *recipients):
    return Envelope(sender and box(sender), tuple(Recipient(box(one)) for one in recipients or (BOB, EVE)))


@pytest.mark.parametrize(
    ("rule", "about", "login", "taken"),
    [
        (HoldRule("0", sender=Pattern(ALICE)), envelope(), "", [0, 1]),
        (HoldRule("0", sender=Pattern("@example.org")), envelope("ALICE@example.org"), "", [0, 1]),
        (HoldRule("0", sender=Pattern("@example.org")), envelope(None), "", []),
        (HoldRule("0", sender=Pattern("@example.org")), envelope("alice@sub.example.org"), "", []),
        (HoldRule("0", recipient=Pattern("@example.com")), envelope(), "", [1]),
        (HoldRule("0", recipient=Pattern(BOB)), envelope(ALICE, "Bob@example.net"), "", [0]),
        (HoldRule("0", recipient=Pattern(BOB)), envelope(None), "", [0]),
        (HoldRule("0", login=Pattern(ALICE)), envelope(EVE), "Alice@example.org", [0, 1]),
        (HoldRule("0", login=Pattern("@example.org")), envelope(), "", []),
        (HoldRule("0", Pattern(ALICE), Pattern(BOB), Pattern(ALICE)), envelope(), ALICE, [0]),
        (HoldRule("0", Pattern(ALICE), Pattern(BOB), Pattern(ALICE)), envelope(), EVE, []),
    ],
)
def test_all_given_patterns_must_fit(rule, about, login, taken):
    assert list(rules_that_hold([rule], about, login)) == taken


def test_the_first_rule_that_fits_is_named():
    rules = [HoldRule("a", recipient=Pattern(EVE)), HoldRule("b", sender=Pattern(ALICE))]
    assert {number: rule.name for number, rule in rules_that_hold(rules, envelope(), "").items()} == {0: "b", 1: "a"}


def test_reports_of_ours_are_never_held_and_copies_of_ours_only_by_recipient():
    rules = [HoldRule("a", sender=Pattern(ALICE)), HoldRule("b", recipient=Pattern("@example.net"))]
    assert rules_that_hold(rules, envelope(None), "", is_ours=True) == {}
    assert {n: rule.name for n, rule in rules_that_hold(rules, envelope(), "", is_ours=True).items()} == {0: "b"}


def test_copies_behind_an_alias_are_held_by_rules_about_recipients_only_and_with_their_login():
    """Their message was judged before, and perhaps released."""
    rules = [HoldRule("a", sender=Pattern(ALICE)), HoldRule("b", recipient=Pattern(BOB), login=Pattern(ALICE))]
    assert {n: rule.name for n, rule in rules_that_hold(rules, envelope(), ALICE, is_copy=True).items()} == {0: "b"}
    assert rules_that_hold(rules, envelope(), "", is_copy=True) == {}


@pytest.mark.parametrize("source", ["our own report", "", "[192.0.2.1:4711] a b@x.example ESMTPSA"])
def test_copies_keep_the_source_of_what_they_are_copies_of(source):
    copies = source_of_copies(source)
    assert source_of_copies(copies) == copies != source
    assert (is_of_copies(source), is_of_copies(copies)) == (False, True)
    assert login_of(copies) == login_of(source)
    assert is_our_own(copies) == is_our_own(source) == (source == "our own report")


@pytest.mark.parametrize("login", ["", ALICE, '"a b"@example.org', "] x@y.z"])
def test_the_login_is_found_in_the_source(login):
    assert login_of(source_text("192.0.2.1:4711", login, "ESMTPSA")) == login
    assert login_of("our own report") == ""
