"""What makes `auto` put IPv4 first, and for how long."""

import pytest

from mailserver.mail.outcome import Bounced, Deferred, Delivered, Stage
from mailserver.mail.reply import Reply
from mailserver.relay.families import Families, Sight, after, is_about_our_name

HOUR = 3600.0
N6, W6, W4, NAMELESS = Sight.IPV6_NOWHERE, Sight.IPV6_WORKS, Sight.IPV4_WORKS, Sight.IPV6_NAMELESS


def at_hosts(*pairs, gap=1.0):
    return [(number * gap, sight, host) for number, (sight, host) in enumerate(pairs)]


def both_ways(*hosts):
    return [pair for host in hosts for pair in ((N6, host), (W4, host))]


@pytest.mark.parametrize(
    ("sights", "is_ipv4_first"),
    [
        ([], False),
        (at_hosts(*both_ways("a", "b", "c")), True),
        (at_hosts(*both_ways("a", "b")), False),
        (at_hosts(*both_ways("a", "a", "a", "a")), False),
        # IPv4 does not work either: the network is down.
        (at_hosts((N6, "a"), (N6, "b"), (N6, "c"), (N6, "d")), False),
        # IPv4 works for others: these hosts are down.
        (at_hosts((N6, "a"), (N6, "b"), (N6, "c"), (W4, "d"), (W4, "e"), (W4, "f")), False),
        # It works for somebody in between.
        (at_hosts(*both_ways("a", "b"), (W6, "z"), *both_ways("c")), False),
        # Too long apart.
        (at_hosts(*both_ways("a", "b", "c"), gap=HOUR / 2), False),
        (at_hosts((NAMELESS, "a")), True),
        (at_hosts((NAMELESS, "a"), (W6, "b")), True),
    ],
)
def test_what_puts_ipv4_first(sights, is_ipv4_first):
    known, now = Families(), 0.0
    for now, sight, host in sights:
        known = after(known, sight, host, now)
    assert known.prefers_ipv4(now) is is_ipv4_first
    assert bool(known.reason) is is_ipv4_first


def test_it_is_tried_again_after_some_hours():
    known = Families()
    for now, sight, host in at_hosts(*both_ways("a", "b", "c")):
        known = after(known, sight, host, now)
    assert known.prefers_ipv4(4 * HOUR) and not known.prefers_ipv4(4.1 * HOUR)
    known = after(known, NAMELESS, "a", 5 * HOUR)
    assert known.prefers_ipv4(28.9 * HOUR) and not known.prefers_ipv4(29.1 * HOUR)


def test_what_is_remembered_is_bounded():
    known = Families()
    for number in range(1000):
        known = after(known, N6, f"mx{number}.example", float(number))
    assert len(known.nowhere) <= 50


@pytest.mark.parametrize(
    ("stage", "code", "enhanced", "words", "is_so"),
    [
        (Stage.EOD, 550, "5.7.25", "The IP address sending this message does not have a PTR record setup", True),
        (Stage.RCPT, 450, "4.7.1", "Client host rejected: cannot find your reverse hostname", True),
        (Stage.RCPT, 550, "5.1.1", "no such user", False),
    ],
)
def test_a_refusal_for_our_missing_name_is_known(stage, code, enhanced, words, is_so):
    reply = Reply(code, enhanced, (words,))
    outcome = Bounced("no", stage, enhanced, reply) if code >= 500 else Deferred("no", stage, reply)
    assert is_about_our_name(outcome) is is_so


def test_silence_and_success_are_not_about_our_name():
    assert not is_about_our_name(Deferred("connection refused", Stage.CONNECT))
    assert not is_about_our_name(Delivered(Reply(250, "2.0.0", ("ok",))))
