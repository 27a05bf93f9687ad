"""Certificates as an ACME authority gives them, without one: a chain of root, issuer and the server's own."""

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import NameOID

DAY = 86400.0


def _name(text):
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Test"), x509.NameAttribute(NameOID.COMMON_NAME, text)]
    )


def _at(moment):
    return datetime.datetime.fromtimestamp(moment, datetime.UTC)


class FakeAuthority:
    """Issues chains; nothing is asked."""

    def __init__(self):
        self._key = ec.generate_private_key(ec.SECP256R1())

    def issue(self, key_pem, names, now, life_days=90.0, subject=""):
        """Server's certificate and issuer's as PEM, from an hour before `now` on."""
        key = load_pem_private_key(key_pem, None)
        leaf = self._certificate(x509.Name([]), key.public_key(), names, now - 3600.0, now - 3600.0 + life_days * DAY)
        issuer = self._certificate(
            _name(subject or "Issuer"), self._key.public_key(), (), now - DAY, now + 3650 * DAY, _name("Root")
        )
        return leaf + issuer

    def _certificate(self, subject, public, names, begin, end, issuer=None):
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer or _name("Issuer"))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(_at(begin))
            .not_valid_after(_at(end))
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), False)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)
