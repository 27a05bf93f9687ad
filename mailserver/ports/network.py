"""DNS, connections, TLS, and what is remembered of other servers: asked by whatever talks to them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from mailserver.mail.dns import (
    AddressAnswer,
    FoundRecords,
    HostAnswer,
    IpAddress,
    MxAnswer,
    SignedMx,
    TextAnswer,
    TlsaAnswer,
    TlsaRecord,
)
from mailserver.mail.mta_sts import StsAnswer


class Resolver(Protocol):
    """DNS. Never raises: a failure is `CannotTell`. Names are canonical ASCII without trailing dot."""

    def mx(self, domain: str) -> Awaitable[MxAnswer]:
        """All MX records, unsorted."""

    def addresses(self, host: str, *, ipv4: bool = True, ipv6: bool = True) -> Awaitable[AddressAnswer]:
        """A and AAAA together, CNAMEs followed within bounds. `CannotTell` only if no wanted family gave addresses."""

    def text(self, name: str) -> Awaitable[TextAnswer]:
        """TXT records, the strings of each joined."""

    def pointer(self, address: IpAddress) -> Awaitable[TextAnswer]:
        """PTR names of an address."""


class RecordResolver(Resolver, Protocol):
    """DNS as a look at what is published needs it."""

    def records(self, name: str, kind: str) -> Awaitable[FoundRecords]:
        """Records as a zone file has them: `A`, `AAAA`, `CAA`, `CNAME`, `MX`, `NS`, `PTR`, `SRV`, `TLSA` or `TXT`."""


class SignedResolver(Protocol):
    """DNS as DANE needs it (RFC 7672 2): what is authentic is told apart. Never raises; names as for `Resolver`.

    Authentic is only what a resolver on this very machine says so of: anybody on the way could set the bit.
    """

    def signed_mx(self, domain: str) -> Awaitable[SignedMx]:
        """All MX records, unsorted."""

    def signed_addresses(self, host: str) -> Awaitable[HostAnswer]:
        """A and AAAA together, and where to look for TLSA records."""

    def tlsa(self, name: str) -> Awaitable[TlsaAnswer]:
        """TLSA records of `_25._tcp.host`. Records that are not authentic are none."""


class ConnectionFailed(Exception):
    """No connection, or one that broke. The text is plain words for the log, such as `connection refused`."""


class TlsFailed(Exception):
    """The handshake did not succeed. The text is plain words for the log."""


@dataclass(frozen=True, slots=True)
class TlsRequirement:
    """What a handshake must prove. `verify_host` empty means: encrypt, verify nothing (RFC 7435).

    With `tlsa` the certificate must agree with one of these records, and where they name an authority be for one of
    `names` (RFC 7672 3). With `is_trial` nothing is required of `verify_host`: `TlsDetails.unproven` tells what would
    have been wrong.
    """

    server_name: str
    verify_host: str = ""
    ca_file: Path | None = None
    tlsa: tuple[TlsaRecord, ...] = ()
    names: tuple[str, ...] = ()
    is_trial: bool = False


@dataclass(frozen=True, slots=True)
class TlsDetails:
    """What was agreed: `TLSv1.3`, `TLS_AES_256_GCM_SHA384`. `unproven`: what a trial found wrong, in plain words.

    `channel_binding` gives what a SCRAM client may bind itself to by the name of its kind (RFC 5929, RFC 9266), None
    for a kind that is not to be had here. Worked out when it is asked.
    """

    version: str
    cipher: str
    unproven: str = ""
    channel_binding: Callable[[str], bytes | None] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class PeerTls:
    """What protected the last conversations with a host; times are seconds since the epoch, 0.0 for never.

    `version` is the last TLS version it did (`TLSv1.3`; nothing was verified), empty when it never had any. `seen_at`
    is when. `clear_since`: it has been without from then on; `told_at` is when that was last said.
    """

    version: str
    seen_at: float
    clear_since: float = 0.0
    told_at: float = 0.0


class HistoryStore(Protocol):
    """What is remembered of other servers. Answers at once from memory; a crash may cost the last minutes of it."""

    def tls(self, host: str) -> PeerTls | None:
        """What is known of a host, by its name (an address for a host without one)."""

    def remember_tls(self, host: str, seen: PeerTls) -> None:
        """Know this of it from now on. The hosts heard of longest ago are forgotten first."""


class StsPolicySource(Protocol):
    """The MTA-STS policies of other domains (RFC 8461)."""

    def policy(self, domain: str) -> Awaitable[StsAnswer]:
        """The one in force for mail to a canonical domain. Never raises; answers within a minute or so."""


class Stream(Protocol):
    """An open connection, read and written by one conversation."""

    @property
    def peer(self) -> str:
        """Address and port of the other side, for the log."""

    def read(self) -> Awaitable[bytes]:
        """The next octets, `b""` at the end of the stream. Raises `ConnectionFailed`."""

    def write(self, octets: bytes) -> Awaitable[None]:
        """Answers when the octets are on their way and little waits before them. Raises `ConnectionFailed`."""

    def start_tls(self, requirement: TlsRequirement) -> Awaitable[TlsDetails]:
        """Upgrade. Raises `TlsFailed` or `ConnectionFailed`; octets that came before the handshake are an error."""

    def close(self) -> None:
        """Say goodbye to the transport after what was written is out; never raises."""

    def abort(self) -> None:
        """Drop it now; never raises. A `read`, `write` or `start_tls` that waits raises `ConnectionFailed`."""


class Dialer(Protocol):
    """Opens streams, nothing more."""

    def dial(self, address: IpAddress | str, port: int, *, timeout_s: float) -> Awaitable[Stream]:
        """Connect to an address (a name only for a smarthost or route). Raises `ConnectionFailed`."""
