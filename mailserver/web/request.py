"""One request and its answer as values; what reads and writes them is in `net.web_connection`."""

from dataclasses import dataclass, field

from mailserver.mail.address import canonical_domain
from mailserver.mail.peer import Peer

TEXT = "text/plain; charset=utf-8"
XML = "application/xml; charset=utf-8"
HTML = "text/html; charset=utf-8"


@dataclass(frozen=True, slots=True)
class WebRequest:
    """What a client asks. `host` is canonical (empty: none, or no host name); `path` has not been decoded.

    `address` is the value of `emailaddress=`, decoded, as the client wrote it. `body` is bounded by who read it.
    """

    method: str
    host: str
    path: str
    peer: Peer
    is_tls: bool
    address: str = ""
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class WebAnswer:
    """`headers` beside Content-Type, Content-Length, Date and Connection, which every answer has."""

    code: int
    kind: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = field(default=())


NOT_FOUND = WebAnswer(404, TEXT, b"404: there is no such page here.\n")
BROKEN = WebAnswer(500, TEXT, b"500: something is wrong here, and its owner is told.\n")


def wrong_method(allowed: str) -> WebAnswer:
    """The page is there, and this cannot be done with it (RFC 9110 15.5.6)."""
    return WebAnswer(405, TEXT, f"405: this page takes {allowed} only.\n".encode(), (("Allow", allowed),))


def host_of(written: str) -> str:
    """The host of a Host field or of an absolute address, canonical and without its port; empty for what is none."""
    host, colon, port = written.rpartition(":")
    if not colon or not port.isdigit():
        host = written
    if host.startswith("["):
        # An IPv6 address in brackets is no name, and only compared as it is.
        return host.lower() if len(host) <= 48 else ""
    return canonical_domain(host.rstrip(".")) or ""
