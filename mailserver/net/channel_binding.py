"""What binds a login to its TLS connection: `tls-exporter` (RFC 9266) and `tls-server-end-point` (RFC 5929 4).

A client that proves its password over these octets too is not logged in through somebody who sits between.
`tls-unique` is left out: it does not exist in TLS 1.3, and before that it is safe only with an extension that cannot be
asked for here.
"""

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

_EXPORTER_LABEL = b"EXPORTER-Channel-Binding"
_EXPORTER_OCTETS = 32


def channel_binding(connection: SSL.Connection, name: str) -> bytes | None:
    """The octets of this kind for a server's connection after its handshake; None for a kind that is not to be had."""
    if name == "tls-exporter":
        # RFC 9266 4.2: before TLS 1.3 only with extended master secrets, of which pyOpenSSL does not tell.
        if connection.get_protocol_version_name() != "TLSv1.3":
            return None
        return connection.export_keying_material(_EXPORTER_LABEL, _EXPORTER_OCTETS, b"")
    if name == "tls-server-end-point":
        return _end_point(connection)
    return None


def _end_point(connection: SSL.Connection) -> bytes | None:
    """The digest of our certificate by the hash it is signed with, and by SHA-256 instead of MD5 and SHA-1."""
    own = connection.get_certificate()
    if own is None:
        return None
    certificate = own.to_cryptography()
    signed_with = certificate.signature_hash_algorithm
    if signed_with is None:
        return None  # Ed25519: RFC 5929 defines nothing
    if isinstance(signed_with, hashes.MD5 | hashes.SHA1):
        signed_with = hashes.SHA256()
    digest = hashes.Hash(signed_with)
    digest.update(certificate.public_bytes(Encoding.DER))
    return digest.finalize()
