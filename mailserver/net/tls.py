"""The server's side of TLS: one holder for the context in force, and the self-signed certificate made at first start.

STARTTLS, STLS and implicit TLS all take their connections from one `ServerTls`, so that a certificate that changed is
used by the next handshake of any of them, with SNI or without, and nothing is restarted. The client's side is in
`dialer`.

Rules of the contexts: TLS 1.2 at least (RFC 8996); no renegotiation and no compression; no session tickets, because
they break inbound mail from one large sender. TLS 1.3 gives tickets by another message that pyOpenSSL cannot switch
off; with no session cache behind them they are worth nothing, and a client that offers one gets a full handshake.

Crash states of `<state>/tls/`: a temporary file (removed at the next making), a key without its certificate (both are
made anew). Each file is complete or absent: written aside, synced, renamed.
"""

import datetime
import ipaddress
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IProtocolFactory, IReactorTime
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

from mailserver.mail.certificate import covers
from mailserver.store.certificates import names_of
from mailserver.store.files import Files

# Forward secrecy first; plain RSA stays for scanners and other old devices, for which the alternative is no TLS at all.
_CIPHERS_BEFORE_TLS13 = (
    b"ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20:ECDHE+AES:DHE+AES:RSA+AESGCM:RSA+AES"
    b":!aNULL:!eNULL:!MD5:!DSS:!PSK:!SRP"
)
_OPTIONS = (
    SSL.OP_NO_COMPRESSION | SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION | SSL.OP_CIPHER_SERVER_PREFERENCE
)  # fmt: skip
_SESSION_CONTEXT = b"mailserver"
SELF_SIGNED_YEARS = 10


class CertificateTrouble(Exception):
    """A certificate or key that cannot be used. The text is for the operator and names the file and the remedy."""


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Where the PEM chain (the server's own certificate first) and its private key are."""

    certificate: Path
    private_key: Path


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """What an operator wants to know of the certificate in force. `not_after` is seconds since the epoch."""

    names: tuple[str, ...]
    not_after: float
    is_self_signed: bool

    def warnings(self, hostname: str, now: float) -> tuple[str, ...]:
        """What clients will complain about, in plain words; empty when all is well."""
        found = []
        if self.not_after <= now:
            found.append(f"the certificate expired on {_day(self.not_after)}")
        if not any(covers(name, hostname) for name in self.names):
            found.append(f"the certificate is for {', '.join(self.names) or 'no name'} and not for {hostname}")
        return tuple(found)


@implementer(IOpenSSLServerConnectionCreator)
class ServerTls:
    """The context in force. `load` reads the files again; connections that exist keep what they have."""

    def __init__(self, files: CertificateFiles) -> None:
        """Reads both files (blocking). Raises `CertificateTrouble`."""
        self.files = files
        self.facts, self._context = _load(files)

    def load(self, files: CertificateFiles | None = None) -> None:
        """Read the files anew (blocking). Raises `CertificateTrouble`; then the old context stays in force."""
        files = files or self.files
        self.facts, self._context = _load(files)
        self.files = files

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """A connection with the context that is in force now, whatever name the client asks for."""
        del protocol
        return SSL.Connection(self._context, None)

    def wrap(self, factory: IProtocolFactory, reactor: IReactorTime) -> TLSMemoryBIOFactory:
        """`factory` behind implicit TLS."""
        return TLSMemoryBIOFactory(self, isClient=False, wrappedFactory=factory, clock=reactor)


def _load(files: CertificateFiles) -> tuple[CertificateFacts, SSL.Context]:
    """The facts and a context from the two files, or `CertificateTrouble`."""
    certificate_pem = _read(files.certificate, "certificate")
    chain = _chain(files.certificate, certificate_pem)
    # One file may hold both. It is read once then: a file that is replaced meanwhile must not give halves of two.
    is_one_file = files.private_key == files.certificate
    key_pem = certificate_pem if is_one_file else _read(files.private_key, "private key")
    try:
        key = serialization.load_pem_private_key(key_pem, password=None)
    except TypeError:
        raise CertificateTrouble(
            f"the private key {files.private_key} is protected by a passphrase, which nobody could type at a restart: "
            f"write an unprotected copy with `openssl pkey -in {files.private_key} -out NEWFILE`, mode 0600"
        ) from None
    except ValueError as fault:
        raise CertificateTrouble(f"{files.private_key} holds no private key in PEM form ({fault})") from None
    if chain[0].public_key() != key.public_key():
        raise CertificateTrouble(
            f"the private key {files.private_key} does not belong to the first certificate in {files.certificate}"
        )
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(_OPTIONS)
    # Thousands of idle connections: give the 34 KiB of record buffers back between records.
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_cipher_list(_CIPHERS_BEFORE_TLS13)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    # Without an id context a client that offers an old session is refused with an alert, not given a full handshake.
    context.set_session_id(_SESSION_CONTEXT)
    try:
        context.use_certificate(chain[0])
        for certificate in chain[1:]:
            context.add_extra_chain_cert(certificate)
        context.use_privatekey(key)  # type: ignore[arg-type]  # the union of key kinds is wider than what PEM holds
    except (SSL.Error, TypeError, ValueError) as fault:
        raise CertificateTrouble(f"TLS cannot use the key in {files.private_key}: {fault}") from None
    return _facts(chain[0]), context


def _chain(path: Path, pem: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as fault:
        raise CertificateTrouble(f"{path} holds no certificate chain in PEM form ({fault})") from None


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise CertificateTrouble(f"the {what} {path} does not exist") from None
    except PermissionError:
        raise CertificateTrouble(
            f"the {what} {path} may not be read by user {os.geteuid()}, as whom this server runs: change its owner or "
            f"group, for example `setfacl -m u:{os.geteuid()}:r {path}`"
        ) from None
    except OSError as fault:
        raise CertificateTrouble(f"the {what} {path} cannot be read: {fault.strerror}") from None


def _facts(certificate: x509.Certificate) -> CertificateFacts:
    return CertificateFacts(
        names=names_of(certificate),
        not_after=certificate.not_valid_after_utc.timestamp(),
        is_self_signed=certificate.subject == certificate.issuer,
    )


def _day(moment: float) -> str:
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).strftime("%Y-%m-%d")


# --- the self-signed certificate --------------------------------------------------------------------------------------


def self_signed_files(folder: Path) -> CertificateFiles:
    """Where the certificate of our own making lives: `certificate.pem` and `private-key.pem` in `<state>/tls`."""
    return CertificateFiles(folder / "certificate.pem", folder / "private-key.pem")


def ensure_self_signed(folder: Path, hostname: str, now: float) -> CertificateFiles:
    """The self-signed certificate for `hostname`, made when there is none that fits (blocking, durable).

    It is kept over restarts, because clients remember it; it is made anew when it is unreadable, expired, or for
    another host name. Raises `CertificateTrouble` when it cannot be written.
    """
    files = self_signed_files(folder)
    try:
        facts, _ = _load(files)
        if not facts.warnings(hostname, now):
            return files
    except CertificateTrouble:
        # None yet, or half of one after a crash; what we made we may make again.
        pass
    try:
        disk = Files()
        disk.make_folders(str(folder))
        key = ec.generate_private_key(ec.SECP256R1())
        key_pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        certificate = _self_signed(key, hostname, now)
        for path, pem in (
            (files.private_key, key_pem),
            (files.certificate, certificate.public_bytes(serialization.Encoding.PEM)),
        ):
            aside = path.with_suffix(".new")
            disk.discard(str(aside))
            disk.replace(str(path), str(aside), pem)
    except OSError as fault:
        raise CertificateTrouble(f"no self-signed certificate can be made in {folder}: {fault.strerror}") from None
    return files


def _self_signed(key: ec.EllipticCurvePrivateKey, hostname: str, now: float) -> x509.Certificate:
    """A certificate with the host name as CN (fetchmail insists on one) and as SAN, with the names of loopback."""
    # A CN holds at most 64 characters (RFC 5280, ub-common-name); the SAN has the whole name.
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hostname[:64])])
    begin = datetime.datetime.fromtimestamp(now, datetime.UTC) - datetime.timedelta(days=1)
    public = key.public_key()
    identifier = x509.SubjectKeyIdentifier.from_public_key(public)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + datetime.timedelta(days=365 * SELF_SIGNED_YEARS + 2))
        .add_extension(x509.SubjectAlternativeName(list(_alternative_names(hostname))), critical=False)
        # Not a CA: mail programs made from Firefox's parts refuse a CA certificate as a server's.
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )


def _alternative_names(hostname: str) -> Iterable[x509.GeneralName]:
    yield x509.DNSName(hostname)
    if hostname != "localhost":
        yield x509.DNSName("localhost")
    yield x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    yield x509.IPAddress(ipaddress.ip_address("::1"))


def _key_usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
