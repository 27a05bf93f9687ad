"""Whether the certificates that a host showed prove what is required of them, after a handshake that verified nothing.

Two proofs: DANE (RFC 7671, RFC 7672 3), which OpenSSL's bindings for Python do not do; and chain and name against
authorities, for a trial that must not end the conversation. The answer is what is wrong, in plain words, or nothing.
"""

import hashlib
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from OpenSSL import crypto

from mailserver.mail.dns import TlsaRecord

_DANE_TA, _DANE_EE = 2, 3
Chain = Sequence[x509.Certificate]


def tlsa_trouble(chain: Chain, records: Sequence[TlsaRecord], names: Sequence[str]) -> str:
    """What is wrong with `chain` (the host's own certificate first) for usable TLSA records; empty when one fits.

    DANE-EE looks at the host's own certificate alone: neither names nor dates count (RFC 7672 3.1.1). DANE-TA wants an
    authority that the host sent, or that a record holds whole, a chain to it in its dates, and one of `names`.
    """
    if not chain:
        return "the host showed no certificate"
    leaf = chain[0]
    if any(_agrees(record, leaf) for record in records if record.usage == _DANE_EE):
        return ""
    trouble = "its certificate agrees with none of the TLSA records of the host"
    authorities = [record for record in records if record.usage == _DANE_TA]
    if not authorities:
        return trouble
    anchors = [one for one in chain[1:] if any(_agrees(record, one) for record in authorities)]
    anchors += [anchor for record in authorities if (anchor := _whole(record)) is not None]
    for anchor in anchors:
        trouble = _chain_trouble(chain, _store(anchor))
        if not trouble:
            break
    return trouble or _name_trouble(leaf, names)


def pkix_trouble(chain: Chain, name: str, store: crypto.X509Store) -> str:
    """What is wrong with `chain` as the certificates of `name`, for the authorities of `store`; empty for nothing."""
    if not chain:
        return "the host showed no certificate"
    return _chain_trouble(chain, store) or _name_trouble(chain[0], (name,))


def _agrees(record: TlsaRecord, certificate: x509.Certificate) -> bool:
    """RFC 6698 2.1.2, 2.1.3."""
    if record.selector == 0:
        octets = certificate.public_bytes(Encoding.DER)
    else:
        octets = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    match record.matching:
        case 0:
            return octets == record.association
        case 1:
            return hashlib.sha256(octets).digest() == record.association
        case 2:
            return hashlib.sha512(octets).digest() == record.association
        case _:
            return False


def _whole(record: TlsaRecord) -> x509.Certificate | None:
    """The authority's certificate in a record `2 0 0`."""
    if (record.selector, record.matching) != (0, 0):
        return None
    try:
        return x509.load_der_x509_certificate(record.association)
    except ValueError:
        return None


def _store(anchor: x509.Certificate) -> crypto.X509Store:
    store = crypto.X509Store()
    store.add_cert(crypto.X509.from_cryptography(anchor))
    # An authority below another one is enough (RFC 7671 5.2.2).
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
    return store


def _chain_trouble(chain: Chain, store: crypto.X509Store) -> str:
    """Signatures, dates and who may sign what."""
    leaf, *others = [crypto.X509.from_cryptography(one) for one in chain]
    try:
        crypto.X509StoreContext(store, leaf, others).verify_certificate()
    except crypto.X509StoreContextError as failed:
        return str(failed) or "its certificate could not be verified"
    return ""


def _name_trouble(leaf: x509.Certificate, names: Sequence[str]) -> str:
    shown = names_of(leaf)
    if any(_fits(pattern, name) for pattern in shown for name in names):
        return ""
    return f"its certificate is not for {' or '.join(names)}"


def names_of(leaf: x509.Certificate) -> tuple[str, ...]:
    """The DNS names in it; the CN only for a certificate without any (RFC 7672 3.2.3)."""
    try:
        alternative = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = alternative.get_values_for_type(x509.DNSName)
    except (x509.ExtensionNotFound, ValueError):
        names = []
    if not names:
        names = [str(part.value) for part in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return tuple(name.lower().rstrip(".") for name in names)


def _fits(pattern: str, name: str) -> bool:
    """`*.` stands for exactly one label (RFC 9525 6.3)."""
    return pattern == name or (pattern.startswith("*.") and pattern[2:] == name.partition(".")[2] != "")
