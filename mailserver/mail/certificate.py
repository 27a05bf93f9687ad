"""Names in certificates, and what an operator wants to know of one. Values only."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CertificateSummary:
    """One certificate in words. Times are seconds since the epoch; `spki_sha256` is what TLSA 3 1 1 holds, in hex."""

    names: tuple[str, ...]
    issuer: str
    not_before: float
    not_after: float
    serial: str
    spki_sha256: str
    is_self_signed: bool

    def days_left(self, now: float) -> int:
        """Whole days until it expires; negative afterwards."""
        return int((self.not_after - now) // 86400.0)


def covers(name: str, host: str) -> bool:
    """Whether a certificate's name, perhaps `*.example.org`, fits a host name (RFC 9525 6.3)."""
    name, host = name.lower(), host.lower()
    if name.startswith("*.") and not host.startswith("*."):
        return host.partition(".")[2] == name[2:]
    return name == host
