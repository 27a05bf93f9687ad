"""A certificate authority for one test run."""

from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True, slots=True)
class Certificate:
    """PEM files: the authority to trust, the server's chain, its private key."""

    authority: Path
    chain: Path
    private_key: Path


class Authority:
    """Issues certificates that clients accept when they trust `pem`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ca = trustme.CA(organization_name="test laboratory")
        self.pem = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(self.pem)

    def issue(self, *names: str) -> Certificate:
        """A certificate for `names`; the first is the common name too, which fetchmail insists on."""
        issued = self._ca.issue_cert(*names, common_name=names[0])
        chain, private_key = self._folder / f"{names[0]}.chain.pem", self._folder / f"{names[0]}.key.pem"
        chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        private_key.write_bytes(issued.private_key_pem.bytes())
        private_key.chmod(0o600)
        return Certificate(self.pem, chain, private_key)
