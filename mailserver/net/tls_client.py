"""The client's side of TLS: contexts for outgoing connections.

Three kinds. *Opportunistic* (RFC 7435): encrypt, verify nothing, because the alternative is clear text; so old keys and
ciphers are taken too, but never below TLS 1.2 (RFC 8996). *Verified*: chain and name are checked against the system's
authorities or one file, with Twisted's own options. *Proven*: the handshake verifies nothing, and what the host showed
is looked at behind it, before anything is said (`tls_proof`): for DANE, and for a trial that must not end anything.
"""

import ipaddress
from pathlib import Path
from typing import Any

from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from mailserver.net.tls_proof import pkix_trouble, tlsa_trouble
from mailserver.ports import TlsFailed, TlsRequirement

# Without verification an active attacker is not kept out anyway; strength only has to beat a passive listener.
_OPPORTUNISTIC_CIPHERS = b"DEFAULT:!aNULL:!eNULL:!MD5:!PSK:!SRP:@SECLEVEL=0"
# What is authenticated is worth attacking; whoever publishes TLSA records has a current library.
_PROVEN_CIPHERS = b"DEFAULT:!aNULL:!eNULL:!MD5:!PSK:!SRP"
_BEGIN = b"-----BEGIN CERTIFICATE-----"


@implementer(IOpenSSLClientConnectionCreator)
class _Opportunistic:
    """Connections that verify nothing and name the host they want (SNI)."""

    def __init__(self, context: SSL.Context, server_name: str) -> None:
        self._context = context
        self._server_name = server_name

    def clientConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """One connection for one handshake."""
        del protocol
        connection = SSL.Connection(self._context, None)
        if self._server_name and not _is_address(self._server_name):
            connection.set_tlsext_host_name(self._server_name.encode("ascii"))
        return connection


class ClientTls:
    """Makes what a handshake needs; contexts are kept, since loading the authorities takes tens of milliseconds."""

    def __init__(self) -> None:
        self._context: SSL.Context | None = None
        self._proven: SSL.Context | None = None
        self._authorities: dict[tuple[Path | None, float], SSL.Context] = {}
        self._verified: dict[tuple[str, Path | None, float], IOpenSSLClientConnectionCreator] = {}

    def creator(self, requirement: TlsRequirement) -> IOpenSSLClientConnectionCreator:
        """For one requirement. Reads the CA file when it is new or changed. Raises `TlsFailed` when it cannot."""
        if requirement.tlsa:
            if self._proven is None:
                self._proven = _unverified_context(_PROVEN_CIPHERS)
            return _Opportunistic(self._proven, requirement.server_name)
        if not requirement.verify_host or requirement.is_trial:
            if self._context is None:
                self._context = _unverified_context(_OPPORTUNISTIC_CIPHERS)
            return _Opportunistic(self._context, requirement.server_name)
        ca_file = requirement.ca_file
        try:
            changed_at = ca_file.stat().st_mtime if ca_file else 0.0
            key = (requirement.verify_host, ca_file, changed_at)
            if key not in self._verified:
                self._verified = {known: made for known, made in self._verified.items() if known[:2] != key[:2]}
                self._verified[key] = optionsForClientTLS(
                    requirement.verify_host, trustRoot=trust_root(ca_file) if ca_file else None
                )
            return self._verified[key]
        except OSError as error:
            raise TlsFailed(f"the CA file {ca_file} cannot be read: {error.strerror}") from error
        except (ValueError, crypto.Error, SSL.Error) as error:
            raise TlsFailed(f"the CA file {ca_file} holds no certificates in PEM form") from error

    def trouble(self, requirement: TlsRequirement, connection: SSL.Connection) -> str:
        """What the handshake that is over does not prove and should; empty for nothing."""
        if not requirement.tlsa and not requirement.is_trial:
            return ""
        chain = connection.get_peer_cert_chain(as_cryptography=True) or []
        if requirement.tlsa:
            return tlsa_trouble(chain, requirement.tlsa, requirement.names)
        try:
            return pkix_trouble(chain, requirement.verify_host, self._store(requirement.ca_file))
        except (OSError, ValueError, crypto.Error, SSL.Error):
            return f"the CA file {requirement.ca_file} cannot be used"

    def _store(self, ca_file: Path | None) -> crypto.X509Store:
        """The authorities of a file, or the system's, loaded again when the file changes.

        What is kept is the context: the store is a part of it and goes with it.
        """
        key = (ca_file, ca_file.stat().st_mtime if ca_file else 0.0)
        if key not in self._authorities:
            context = SSL.Context(SSL.TLS_CLIENT_METHOD)
            if ca_file is None:
                context.set_default_verify_paths()
            else:
                context.load_verify_locations(str(ca_file))
            self._authorities = {known: kept for known, kept in self._authorities.items() if known[0] != ca_file}
            self._authorities[key] = context
        store = self._authorities[key].get_cert_store()
        assert store is not None, "a context has a store"
        return store


def _unverified_context(ciphers: bytes) -> SSL.Context:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_cipher_list(ciphers)
    context.set_verify(SSL.VERIFY_NONE)
    return context


def trust_root(ca_file: Path) -> Any:  # Twisted names the type only in a private module
    """Every certificate of a PEM bundle. Raises `OSError`, `ValueError`, `crypto.Error`."""
    blocks = ca_file.read_bytes().split(_BEGIN)[1:]
    if not blocks:
        raise ValueError("no certificate")
    return trustRootFromCertificates([Certificate.loadPEM(_BEGIN + block) for block in blocks])


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
