"""PROXY headers, versions 1 and 2, whole and cut anywhere."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mail.fault import SyntaxFault
from mailserver.wire.proxy_header import ProxyHeader, parse_proxy_header

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V4 = bytes([192, 0, 2, 7, 192, 0, 2, 1]) + (4711).to_bytes(2) + (25).to_bytes(2)
V6 = ip_address("2001:db8::7").packed + ip_address("2001:db8::1").packed + (4711).to_bytes(2) + (25).to_bytes(2)


def version_2(command, family, rest):
    return SIGNATURE + bytes([command, family]) + len(rest).to_bytes(2) + rest


GOOD = [
    (b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 25\r\n", ("192.0.2.7", 4711)),
    (b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 25\r\n", ("2001:db8::7", 4711)),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None),
    (version_2(0x21, 0x11, V4), ("192.0.2.7", 4711)),
    (version_2(0x21, 0x11, V4 + b"\x03\x00\x04\x00\x00\x00\x00"), ("192.0.2.7", 4711)),
    (version_2(0x21, 0x21, V6), ("2001:db8::7", 4711)),
    (version_2(0x20, 0x00, b""), None),
    (version_2(0x20, 0x11, V4), None),
    (version_2(0x21, 0x31, b"\x00" * 216), None),
    (version_2(0x21, 0x00, b"extra"), None),
]


@pytest.mark.parametrize(("octets", "source"), GOOD)
def test_who_the_client_is_and_where_its_own_octets_begin(octets, source):
    expected = (ip_address(source[0]), source[1]) if source else None
    assert parse_proxy_header(octets + b"EHLO x\r\n") == ProxyHeader(expected, len(octets))


@pytest.mark.parametrize(("octets", "source"), GOOD)
def test_every_beginning_of_a_header_wants_more(octets, source):
    assert all(parse_proxy_header(octets[:cut]) is None for cut in range(len(octets)))


@pytest.mark.parametrize(
    "octets",
    [
        b"EHLO client.example\r\n",
        b"\x16\x03\x01\x02\x00",
        b"proxy TCP4 192.0.2.7 192.0.2.1 4711 25\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 4711\r\n",
        b"PROXY TCP4 2001:db8::7 2001:db8::1 4711 25\r\n",
        b"PROXY TCP4 192.0.2.007 192.0.2.1 4711 25\r\n",
        b"PROXY TCP4 localhost 192.0.2.1 4711 25\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 65536 25\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 -1 25\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.1 \xb2 25\r\n",
        b"PROXY UDP4 192.0.2.7 192.0.2.1 1 25\r\n",
        b"PROXY  \r\n",
        b"PROXY TCP4 " + b"1" * 200,
        version_2(0x11, 0x11, V4),
        version_2(0x22, 0x11, V4),
        version_2(0x21, 0x11, V4[:-1]),
        version_2(0x21, 0x21, V4),
        SIGNATURE + b"\x21\x11\xff\xff",
    ],
)
def test_what_is_no_header_is_refused_at_once(octets):
    assert isinstance(parse_proxy_header(octets), SyntaxFault)


@given(st.binary(max_size=300))
def test_no_octets_break_it(octets):
    for prefix in (b"", b"PROXY ", SIGNATURE):
        parse_proxy_header(prefix + octets)
