"""Queue ids, peers, envelopes, trace fields."""

import ipaddress

import pytest

from mailserver.mail.envelope import Envelope, Notify, Recipient, path_text
from mailserver.mail.ids import QUEUE_ID_LENGTH, QueueIds, is_queue_id, made_at, number_of
from mailserver.mail.peer import Peer, peer_from
from mailserver.mail.trace import local_trace, protocol_name, received_field
from tests.fakes.directory import box


def test_queue_ids_sort_by_age_and_never_repeat():
    times = iter([1000.0, 1000.0, 1000.000001, 999.0, 2000.0])
    ids = QueueIds(lambda: next(times))
    made = [ids() for _ in range(5)]
    assert made == sorted(made)
    assert len(set(made)) == 5


def test_queue_ids_are_safe_names():
    made = QueueIds(lambda: 1_750_000_000.123)()
    assert len(made) == QUEUE_ID_LENGTH
    assert is_queue_id(made)


def test_a_queue_id_tells_its_time_and_is_a_number():
    ids = QueueIds(lambda: 1_750_000_000.123)
    first, second = ids(), ids()
    assert made_at(first) == 1_750_000_000.123
    assert number_of(first) < number_of(second) < 10**19


@pytest.mark.parametrize("text", ["", "..", "0" * 12, "0" * 14, "0000000000A00", "000000000000/", "000000000000\n"])
def test_what_is_no_queue_id(text):
    assert not is_queue_id(text)


@pytest.mark.parametrize(
    ("host", "shown", "literal", "client", "is_loopback"),
    [
        ("192.0.2.1", "192.0.2.1:25", "[192.0.2.1]", "192.0.2.1", False),
        ("::ffff:192.0.2.1", "192.0.2.1:25", "[192.0.2.1]", "192.0.2.1", False),
        ("2001:db8::1", "[2001:db8::1]:25", "[IPv6:2001:db8::1]", "2001:db8::/64", False),
        ("127.0.0.9", "127.0.0.9:25", "[127.0.0.9]", "127.0.0.9", True),
        ("::1", "[::1]:25", "[IPv6:::1]", "::/64", True),
        ("::ffff:127.0.0.1", "127.0.0.1:25", "[127.0.0.1]", "127.0.0.1", True),
        ("fe80::1%eth0", "[fe80::1]:25", "[IPv6:fe80::1]", "fe80::/64", False),
    ],
)
def test_peers(host, shown, literal, client, is_loopback):
    peer = peer_from(host, 25)
    assert (str(peer), peer.literal, peer.client, peer.is_loopback) == (shown, literal, client, is_loopback)
    assert peer.host == shown.rpartition(":")[0].strip("[]")


def test_a_proxied_peer_is_never_loopback():
    assert not peer_from("127.0.0.1", 25, is_proxied=True).is_loopback


def test_a_peer_without_an_address():
    peer = Peer(None)
    assert (str(peer), peer.literal, peer.client, peer.is_loopback) == ("local", "[127.0.0.1]", "local", True)
    assert Peer(None).host == "local"
    assert not peer.is_in((ipaddress.ip_network("0.0.0.0/0"),))


def test_peers_in_networks():
    networks = (ipaddress.ip_network("192.0.2.0/24"), ipaddress.ip_network("2001:db8::/32"))
    assert peer_from("192.0.2.200", 1).is_in(networks)
    assert peer_from("2001:db8:1::1", 1).is_in(networks)
    assert not peer_from("192.0.3.1", 1).is_in(networks)


def test_reports_unasked_for_are_failure_and_delay():
    """RFC 3461 4.1."""
    unsaid = Recipient(box("a@b.example"))
    assert [unsaid.wants(what) for what in (Notify.FAILURE, Notify.DELAY, Notify.SUCCESS)] == [True, True, False]
    never = Recipient(box("a@b.example"), frozenset({Notify.NEVER}))
    assert not any(never.wants(what) for what in (Notify.FAILURE, Notify.DELAY, Notify.SUCCESS))


def test_paths_and_envelopes():
    assert path_text(None) == "<>"
    assert path_text(box("a@b.example")) == "<a@b.example>"
    recipients = [Recipient(box("c@d.example"))]
    assert Envelope(None).with_recipients(recipients).recipients == tuple(recipients)


def test_local_trace():
    assert local_trace(None, box("a@b.example")) == b"Return-Path: <>\r\nDelivered-To: a@b.example\r\n"


@pytest.mark.parametrize(
    ("is_extended", "is_tls", "is_authenticated", "smtputf8", "name"),
    [
        (False, False, False, False, "SMTP"),
        (True, False, False, False, "ESMTP"),
        (True, True, False, False, "ESMTPS"),
        (True, False, True, False, "ESMTPA"),
        (True, True, True, False, "ESMTPSA"),
        (False, True, False, False, "ESMTPS"),
        (True, False, False, True, "UTF8SMTP"),
        (True, True, True, True, "UTF8SMTPSA"),
    ],
)
def test_protocol_names(is_extended, is_tls, is_authenticated, smtputf8, name):
    """RFC 3848 and RFC 6531 4.3."""
    made = protocol_name(is_extended=is_extended, is_tls=is_tls, is_authenticated=is_authenticated, smtputf8=smtputf8)
    assert made == name


def test_no_line_of_received_is_over_998_octets():
    """RFC 5322 2.1.1, with the longest of everything that a client may send."""
    field = received_field(
        hello="x" * 255,
        peer=peer_from("2001:db8:1111:2222:3333:4444:5555:6666", 25),
        hostname="h" * 253,
        protocol="UTF8SMTPSA",
        tls="TLSv1.3 TLS_AES_256_GCM_SHA384",
        queue_id=QueueIds(lambda: 0.0)(),
        recipient=box('"' + "a b" * 85 + '"@' + ".".join(["d" * 60] * 4)),
        now=0.0,
    )
    assert max(map(len, field.split(b"\r\n"))) <= 998
    assert field.endswith(b"Thu, 01 Jan 1970 00:00:00 +0000\r\n")
