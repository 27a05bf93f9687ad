"""Certificates and keys as PEM: read into words, made, checked. Blocking where it reads a file, no Twisted."""

from itertools import pairwise
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from mailserver.mail.certificate import CertificateSummary, covers

RSA_BITS = 2048
_MAX_OCTETS = 1 << 20


class Unusable(Exception):
    """A certificate or key that cannot be used. The text is for the operator."""


def read_summary(path: Path) -> CertificateSummary:
    """The first certificate in a file. Raises `OSError`, `Unusable`."""
    with path.open("rb") as file:
        return summary(file.read(_MAX_OCTETS))


def summary(pem: bytes) -> CertificateSummary:
    """The first certificate of a PEM chain. Raises `Unusable`."""
    return _summary(_chain(pem)[0])


def names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """Whom it is for. Raises `ValueError` for one that does not say it in a readable way."""
    try:
        alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        # A certificate of the old kind: only the CN names the host.
        return tuple(_common_names(certificate.subject))
    addresses = map(str, alternative.get_values_for_type(x509.IPAddress))
    return (*alternative.get_values_for_type(x509.DNSName), *addresses)


def make_key(kind: str) -> bytes:
    """A new private key, `p256` or `rsa2048`, as PEM (PKCS #8)."""
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    if kind == "rsa2048":
        key = rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
    else:
        key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def key_kind(pem: bytes) -> str:
    """`p256`, `rsa2048` or another word. Raises `Unusable`."""
    key = _private_key(pem)
    if isinstance(key, rsa.RSAPrivateKey):
        return f"rsa{key.key_size}"
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return "p256" if isinstance(key.curve, ec.SECP256R1) else key.curve.name
    return type(key).__name__


def private_part(pem: bytes) -> bytes:
    """The private key of a file that may hold more. Raises `Unusable`."""
    return _private_key(pem).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def check_obtained(key_pem: bytes, chain_pem: bytes, names: tuple[str, ...], now: float) -> CertificateSummary:
    """What an authority has sent, before it is put in force: right names, our key, not over, chain in order.

    Raises `Unusable` with what is wrong.
    """
    chain = _chain(chain_pem)
    found = _summary(chain[0])
    if chain[0].public_key() != _private_key(key_pem).public_key():
        raise Unusable("it is for another key")
    missing = [name for name in names if not any(covers(one, name) for one in found.names)]
    if missing:
        raise Unusable(f"it is for {', '.join(found.names) or 'no name'} and not for {', '.join(missing)}")
    if found.not_after <= now:
        raise Unusable("it has expired already, or the clock of this machine is wrong")
    for below, above in pairwise(chain):
        if below.issuer != above.subject:
            raise Unusable("its chain is not in order")
    return found


def _chain(pem: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as fault:
        raise Unusable(f"there is no certificate in PEM form ({fault})") from None


def _private_key(pem: bytes) -> PrivateKeyTypes:
    try:
        return load_pem_private_key(pem, None)
    except (ValueError, TypeError) as fault:
        raise Unusable(f"there is no private key in PEM form ({fault})") from None


def _summary(certificate: x509.Certificate) -> CertificateSummary:
    try:
        names = names_of(certificate)
    except ValueError as fault:
        raise Unusable(f"the certificate cannot be read ({fault})") from None
    public = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    digest = hashes.Hash(hashes.SHA256())
    digest.update(public)
    is_self_signed = certificate.subject == certificate.issuer
    return CertificateSummary(
        names=names,
        issuer="itself" if is_self_signed else _issuer(certificate.issuer),
        not_before=certificate.not_valid_before_utc.timestamp(),
        not_after=certificate.not_valid_after_utc.timestamp(),
        serial=f"{certificate.serial_number:x}",
        spki_sha256=digest.finalize().hex(),
        is_self_signed=is_self_signed,
    )


def _issuer(name: x509.Name) -> str:
    """`Let's Encrypt R11`, or what else the name says."""
    organizations = [str(part.value) for part in name.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    return " ".join((*organizations, *_common_names(name))) or name.rfc4514_string()


def _common_names(name: x509.Name) -> list[str]:
    return [str(part.value) for part in name.get_attributes_for_oid(NameOID.COMMON_NAME)]
