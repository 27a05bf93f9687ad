"""The life of keys: publishing, taking over, retiring, reminding; and the records as DNS wants them."""

import re

import pytest

from mailserver.mail.dkim_key import MARGIN_S, DkimKey, KeyState
from mailserver.mail.dns import CannotTell, NoRecords, NoSuchName
from mailserver.policy.dkim.keys import Published, after_look, new_selectors, published, remarks, strings, zone_line
from tests.policy.dkim.keys import NOW, ed25519_public, rsa_public

DAY = 86400.0
WEEK = 7 * DAY


def key(selector="r1", algorithm="rsa-sha256", **times):
    public = rsa_public() if algorithm == "rsa-sha256" else ed25519_public()
    return DkimKey("example.org", selector, algorithm, public, created_at=NOW, **times)


def pair(suffix, **times):
    return [key(f"r{suffix}", **times), key(f"e{suffix}", "ed25519-sha256", **times)]


def test_the_stages_of_a_key():
    made = key()
    assert made.state(NOW) is KeyState.WAITING
    signing = made.activated(NOW)
    assert signing.state(NOW + 500 * DAY) is KeyState.ACTIVE
    retiring = signing.retiring(NOW, 5 * DAY)
    assert retiring.published_until == NOW + 5 * DAY + MARGIN_S
    assert retiring.state(NOW + 5 * DAY) is KeyState.RETIRING
    assert retiring.state(NOW + WEEK) is KeyState.RETIRED
    # One that never signed has nothing to stay for.
    assert made.retiring(NOW, 5 * DAY).state(NOW) is KeyState.RETIRED


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (NoSuchName(), Published.NO),
        (NoRecords(), Published.NO),
        (CannotTell("SERVFAIL"), Published.UNKNOWN),
        ((key().record,), Published.YES),
        (("p=" + key().public,), Published.YES),
        (("v=DKIM1; k=rsa; t=s; p= " + " ".join(key().public),), Published.YES),
        ((key("e1", "ed25519-sha256").record,), Published.DIFFERENT),
        (("v=DKIM1; k=ed25519; p=" + key().public,), Published.DIFFERENT),
        (("v=DKIM1; p=",), Published.DIFFERENT),
        (("v=spf1 -all",), Published.DIFFERENT),
        ((key().record, key().record), Published.DIFFERENT),  # readers differ in which of two they take
    ],
)
def test_what_dns_says_about_a_key(answer, expected):
    assert published(key(), answer) is expected


def test_new_keys_take_over_when_all_of_them_are_published():
    old, new = pair(1, activated_at=NOW - WEEK), pair(2)
    assert after_look([*old, *new], frozenset(), NOW, DAY) == ()
    assert after_look([*old, *new], frozenset(["r2"]), NOW, DAY) == ()
    changed = after_look([*old, *new], frozenset(["r2", "e2"]), NOW, DAY)
    assert {one.selector: one.state(NOW) for one in changed} == {
        "r2": KeyState.ACTIVE,
        "e2": KeyState.ACTIVE,
        "r1": KeyState.RETIRING,
        "e1": KeyState.RETIRING,
    }
    assert after_look(old, frozenset(["r1", "e1"]), NOW, DAY) == ()
    assert {one.state(NOW) for one in after_look(new, frozenset(["r2", "e2"]), NOW, DAY)} == {KeyState.ACTIVE}


def test_selectors_tell_the_month_and_are_never_used_twice():
    first = new_selectors((), NOW)
    assert first == {"rsa-sha256": "r202506", "ed25519-sha256": "e202506"}
    assert new_selectors(first.values(), NOW) == {"rsa-sha256": "r202506b", "ed25519-sha256": "e202506b"}
    assert new_selectors(["e202506"], NOW)["rsa-sha256"] == "r202506b"
    with pytest.raises(ValueError, match="selector"):
        new_selectors([f"r202506{letter}" for letter in ("", *"bcdefghijklmnopqrstuvwxyz")], NOW)


def test_what_is_due():
    year = 365 * DAY
    young, old = key("a", activated_at=NOW - year + 1), key("b", activated_at=NOW - year - 1)
    waiting, forgotten = key("c"), DkimKey("example.org", "d", "rsa-sha256", "x", created_at=NOW - WEEK - 1)
    gone = key("e", activated_at=NOW - WEEK, retired_at=NOW - WEEK, published_until=NOW)
    found = remarks([young, old, waiting, forgotten, gone], NOW)
    assert [(one.key.selector, one.finding) for one in found] == [
        ("b", "in use for 365 days"),
        ("d", "made 7 days ago and still not published"),
        ("e", "no mail needs its record any more"),
    ]
    assert found[0].remedy == "mailserver dkim rotate example.org"


def test_records_are_split_for_dns():
    line = zone_line(key().name, key().record)
    assert line.startswith('r1._domainkey.example.org. 3600 IN TXT (\n    "v=DKIM1; k=rsa; h=sha256; p=')
    assert "".join(re.findall(r'"([^"]*)"', line)) == key().record
    assert all(len(part) <= 255 for part in strings(key().record))
    short = key("e1", "ed25519-sha256")
    assert zone_line(short.name, short.record) == f'{short.name}. 3600 IN TXT "{short.record}"'
    assert zone_line("x", 'a"b\\') == 'x. 3600 IN TXT "a\\"b\\\\"'
