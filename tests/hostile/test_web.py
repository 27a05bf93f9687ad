"""Strangers at the web listeners of the real process: mail goes on, memory and log stay bounded, pages are shown."""

import http.client
from contextlib import suppress

from tests.hostile.scale import scaled
from tests.hostile.test_load import client_hello, keeping_on, letters
from tests.hostile.watch import Crowd, attacked, attackers
from tests.integration.server import HOST, LIMIT_S, free_ports

FRIEND = "127.0.1.2"
BEGUN = b"GET / HTTP/1.1\r\nHost: mail.example.test\r\n"


def listening():
    """The settings of two web listeners, and their ports."""
    plain, secure = free_ports(2)
    settings = {
        "listen": {"http": [f"tcp:{plain}:interface={HOST}"], "https": [f"tcp:{secure}:interface={HOST}"]},
        "web": {"status": True},
    }
    return settings, plain, secure


def shown(port):
    """Whether somebody else still gets a page."""
    connection = http.client.HTTPConnection(HOST, port, timeout=LIMIT_S, source_address=(FRIEND, 0))
    connection.request("GET", "/metrics", headers={"Host": "localhost"})
    answer = connection.getresponse()
    return answer.status == 200 and b"mailserver_queue_messages" in answer.read()


def test_connections_that_ask_nothing_ask_without_end_or_shake_no_hand(tmp_path):
    settings, plain, secure = listening()
    begins = ((plain, b""), (plain, BEGUN), (secure, b""), (secure, client_hello()[:50]), (secure, client_hello()))
    with Crowd() as crowd, attacked(tmp_path, settings, "web connections that ask nothing") as watch:
        for number, source in enumerate(attackers(scaled(20, 200))):
            for turn in range(15):
                crowd.connect(*_at(begins[(number + turn) % len(begins)], source))
        assert shown(plain)
        letters(watch, for_s=scaled(0.3, 10))
        assert shown(plain)


def _at(begin, source):
    port, octets = begin
    return port, source, octets


def test_floods_of_requests_headers_and_bodies(tmp_path):
    """Pipelines, endless headers, bodies that were not announced so: each ends its connection, another one comes."""
    settings, plain, _ = listening()
    piece = b"x" * 65536
    kinds = (
        BEGUN + b"\r\n" + (BEGUN + b"\r\n") * 1000,
        b"GET /" + piece,
        BEGUN + b"X: y\r\n" * 10_000,
        b"POST /autodiscover/autodiscover.xml HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n" + piece,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 10_000,
        b"\x16\x03\x01" + piece,
    )
    sources = attackers(50)
    with Crowd() as crowd, attacked(tmp_path, settings, "floods of web requests") as watch:

        def flood(number):
            one = crowd.connect(plain, sources[number % 50], kinds[number % len(kinds)])
            with suppress(OSError):
                one.send(kinds[number % len(kinds)])
            crowd.sockets.remove(one)
            one.close()

        with keeping_on(flood) as count:
            letters(watch, for_s=scaled(1, 20))
            assert shown(plain)
        assert count[0] > 50
