"""What an order is about, and what can come of it. Apart from the client, which is slow to import."""

from dataclasses import dataclass
from pathlib import Path

from mailserver.mail.certificate import CertificateSummary


class AcmeTrouble(Exception):
    """No certificate. The text is what happened, in the authority's words where it said some; `remedy` what to do.

    `wait_s`: the authority wants no further order before that. `is_limited`: it was asked too often. `names` are those
    that it was about, if it was not about the order as a whole.
    """

    def __init__(
        self,
        reason: str,
        remedy: str,
        *,
        wait_s: float | None = None,
        is_limited: bool = False,
        names: tuple[str, ...] = (),
    ) -> None:
        super().__init__(reason)
        self.remedy = remedy
        self.names = names
        self.wait_s = wait_s
        self.is_limited = is_limited


@dataclass(frozen=True, slots=True)
class Authority:
    """Whom we ask, and as whom. `eab` are key id and HMAC key of an account made elsewhere (RFC 8555 7.3.4)."""

    directory: str
    contact: str = ""
    ca_file: Path | None = None
    eab: tuple[str, str] | None = None
    profile: str = ""


@dataclass(frozen=True, slots=True)
class Obtained:
    """A chain that has been checked. `left`: what could not be cleaned up, one text each."""

    chain_pem: bytes
    summary: CertificateSummary
    left: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fresh:
    """A pair that was obtained and is not on disk yet. `left` as in `Obtained`."""

    key_pem: bytes
    chain_pem: bytes
    summary: CertificateSummary
    left: tuple[str, ...] = ()
