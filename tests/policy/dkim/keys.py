"""Keys for the tests, made once, and messages signed by hand."""

import base64
from functools import cache

from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from mailserver.mail.headers import header_end
from mailserver.policy.dkim.check import SignatureCheck
from mailserver.policy.dkim.result import SignatureResults
from mailserver.policy.dkim.sign import Signing, SigningKey

NOW = 1_750_000_000.0
DOMAIN = "example.org"
RSA, ED25519 = "r1", "e1"


@cache
def rsa_key(bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


@cache
def ed25519_key() -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.generate()


@cache
def rsa_pem(bits: int = 2048) -> bytes:
    return rsa_key(bits).private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())


def rsa_public(bits: int = 2048) -> str:
    der = rsa_key(bits).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(der).decode()


def ed25519_public() -> str:
    return base64.b64encode(ed25519_key().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()


def ed25519_seed() -> bytes:
    return base64.b64encode(ed25519_key().private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()))


def signing_keys() -> tuple[SigningKey, SigningKey]:
    return SigningKey(DOMAIN, RSA, rsa_key(2048)), SigningKey(DOMAIN, ED25519, ed25519_key())


def answers() -> dict[str, tuple[str, ...]]:
    return {
        f"{RSA}._domainkey.{DOMAIN}": (f"v=DKIM1; k=rsa; p={rsa_public()}",),
        f"{ED25519}._domainkey.{DOMAIN}": (f"v=DKIM1; k=ed25519; p={ed25519_public()}",),
    }


def split(content: bytes) -> tuple[bytes, bytes]:
    """Header section and body."""
    end = header_end(content)
    return content[:end], content[end:].removeprefix(b"\r\n")


def signed(content: bytes, now: float = NOW) -> bytes:
    """The content with our two signatures."""
    section, body = split(content)
    signing = Signing(section, signing_keys(), now)
    signing.body(body)
    return signing.fields() + content


def checked(content: bytes, records: dict | None = None, now: float = NOW, pieces: int = 0) -> SignatureResults:
    section, body = split(content)
    check = SignatureCheck(section, now)
    step = pieces or len(body) or 1
    for start in range(0, len(body), step):
        check.body(body[start : start + step])
    return check.results(answers() if records is None else records)
