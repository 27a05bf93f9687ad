"""The PROXY header, versions 1 and 2: a proxy in front of us tells whom it speaks for. Octets in, a value out.

From "The PROXY protocol" of HAProxy's documentation, sections 2.1 and 2.2. Only what a receiver needs: the source
address; checksums and further fields of version 2 are passed over.
"""

import ipaddress
from dataclasses import dataclass

from mailserver.mail.dns import IpAddress
from mailserver.mail.fault import SyntaxFault

# 2.1: "a 108-byte buffer is always enough", CRLF included.
_MAX_LINE_OCTETS = 107
_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_FIXED_OCTETS = 16
# The length field could say 64 KiB; TLS details with a certificate's names come to a few hundred octets.
_MAX_REST_OCTETS = 4096
_LOCAL, _PROXY = 0x20, 0x21
# Family and transport of an address block, and the octets of one address in it.
_STREAMS = {0x11: 4, 0x21: 16}


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """`source` is the client; None when the proxy speaks for itself or does not know. It has `length` octets."""

    source: tuple[IpAddress, int] | None
    length: int


def parse_proxy_header(octets: bytes) -> ProxyHeader | SyntaxFault | None:
    """The header at the beginning of a connection; None when more octets are needed to know."""
    if octets.startswith(_SIGNATURE[: len(octets)]):
        return _version_2(octets) if len(octets) >= _FIXED_OCTETS else None
    if octets.startswith(b"PROXY "[: len(octets)]):
        return _version_1(octets)
    return SyntaxFault("no PROXY header")


def _version_1(octets: bytes) -> ProxyHeader | SyntaxFault | None:
    """`PROXY TCP4 192.0.2.1 192.0.2.2 4711 25` CRLF."""
    end = octets.find(b"\r\n", 0, _MAX_LINE_OCTETS)
    if end < 0:
        return None if len(octets) < _MAX_LINE_OCTETS else SyntaxFault("the PROXY header has no end")
    words = octets[:end].split(b" ")
    if words[1] == b"UNKNOWN":
        return ProxyHeader(None, end + 2)
    if len(words) != 6 or words[1] not in (b"TCP4", b"TCP6"):
        return SyntaxFault("the PROXY header is not understood")
    try:
        address = ipaddress.ip_address(words[2].decode("ascii"))
    except ValueError:
        return SyntaxFault("the PROXY header has no address")
    port = words[4]
    if address.version != int(words[1][3:]) or not port.isdigit() or len(port) > 5 or int(port) > 65535:
        return SyntaxFault("the PROXY header contradicts itself")
    return ProxyHeader((address, int(port)), end + 2)


def _version_2(octets: bytes) -> ProxyHeader | SyntaxFault | None:
    command, family = octets[12], octets[13]
    rest = int.from_bytes(octets[14:16])
    if command not in (_LOCAL, _PROXY) or rest > _MAX_REST_OCTETS:
        return SyntaxFault("the PROXY header is not understood")
    length = _FIXED_OCTETS + rest
    if len(octets) < length:
        return None
    size = _STREAMS.get(family)
    if command == _LOCAL or size is None:
        return ProxyHeader(None, length)
    # Two addresses, then two ports.
    if rest < 2 * size + 4:
        return SyntaxFault("the PROXY header is too short for its addresses")
    address = ipaddress.ip_address(octets[_FIXED_OCTETS : _FIXED_OCTETS + size])
    ports = _FIXED_OCTETS + 2 * size
    return ProxyHeader((address, int.from_bytes(octets[ports : ports + 2])), length)
