"""The certificate: how long it lasts, for whom it is, who vouches for it, and whether TLSA records agree with it."""

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mailserver.config import Config
from mailserver.doctor.check import Check, failed, passed, skipped, unknown, warned
from mailserver.mail.certificate import CertificateSummary, covers
from mailserver.mail.dns import CannotTell, TlsaAnswer, TlsaRecord
from mailserver.store.acme_folder import AcmeFolder, AcmeRecord
from mailserver.store.certificates import Unusable, summary

if TYPE_CHECKING:
    from cryptography import x509

_MAX_OCTETS = 1 << 20
DAY_S = 86400.0


@dataclass(frozen=True, slots=True)
class Presented:
    """What is shown to those who connect. `chain_pem` is the whole chain, the server's own first.

    `chain_trouble` is why nobody can trust it, empty when the chain leads to an authority of the system.
    """

    path: Path
    chain_pem: bytes
    facts: CertificateSummary
    chain_trouble: str


def certificate_path(config: Config) -> Path:
    """Where the certificate is that a server with this configuration would use now."""
    obtained = AcmeFolder(config.storage.state).certificate
    if config.acme.is_on and obtained.exists():
        return obtained
    return config.tls.certificate or config.storage.state / "tls" / "certificate.pem"


def read_presented(config: Config) -> Presented | str:
    """Read it, or say why not. Blocks."""
    path = certificate_path(config)
    try:
        with path.open("rb") as file:
            pem = file.read(_MAX_OCTETS)
        facts = summary(pem)
        trouble = "" if facts.is_self_signed else chain_trouble(pem, config.relay.ca_file)
    except FileNotFoundError:
        return f"there is no certificate {path} yet"
    except OSError as error:
        return f"{path} cannot be read: {(error.strerror or str(error)).lower()}"
    except Unusable as fault:
        return f"{path}: {fault}"
    return Presented(path, pem, facts, trouble)


def chain_trouble(pem: bytes, ca_file: Path | None) -> str:
    """Why the chain does not lead to an authority that is trusted; empty when it does. Dates are not looked at here."""
    from cryptography import x509
    from OpenSSL import crypto

    store = crypto.X509Store()
    places = ssl.get_default_verify_paths()
    if ca_file is not None:
        store.load_locations(str(ca_file))
    elif places.cafile or places.capath:
        store.load_locations(places.cafile, places.capath)
    # X509_V_FLAG_NO_CHECK_TIME (OpenSSL 1.1.0): an expired certificate has a line of its own.
    store.set_flags(0x200000)
    chain = [crypto.X509.from_cryptography(one) for one in x509.load_pem_x509_certificates(pem)]
    try:
        crypto.X509StoreContext(store, chain[0], chain[1:]).verify_certificate()
    except crypto.X509StoreContextError as fault:
        return str(fault)
    return ""


def check_certificate(
    config: Config, found: Presented | str, in_force_until: float | None, record: AcmeRecord, now: float
) -> Iterator[Check]:
    """Lasts, has the host name, is vouched for, and is the one in use.

    `in_force_until` is until when the one lasts that the running server uses; None: none runs. `record` is what came of
    the last order over ACME.
    """
    name = "certificate"
    if isinstance(found, str):
        yield unknown(name, found, "run this as the user the server runs as, or start the server once")
    else:
        yield _lasting(config, found.facts, now)
        yield from _named(config, found)
        if in_force_until is not None and abs(in_force_until - found.facts.not_after) > 1:
            remedy = "systemctl reload mailserver"
            yield warned(name, f"the server still uses an older one than {found.path}", remedy, "in force")
    if config.acme.is_on and record.failures:
        again = "s" if record.failures > 1 else ""
        words = f"renewing did not succeed, {record.failures} time{again} in a row: {record.reason}"
        is_late = isinstance(found, str) or found.facts.not_after - now < 7 * DAY_S
        tell = failed if is_late else warned
        yield tell(name, words, record.remedy or "see docs/certificates.md", "renewal")


def _lasting(config: Config, facts: CertificateSummary, now: float) -> Check:
    days = facts.days_left(now)
    if config.acme.is_on:
        remedy = "see why it is not renewed: journalctl -u mailserver -g acme"
    elif config.tls.certificate is None:
        remedy = "restart the server: it makes a new one"
    else:
        remedy = f"renew it and put it in {config.tls.certificate}, or let [acme] do so"
    if days < 0:
        return failed("certificate", "it has expired", remedy)
    if facts.not_before > now:
        return failed("certificate", "it is not valid yet", "see to the clock of this machine")
    # One that renews itself is due long before; what is renewed by hand takes a hand some days.
    length = facts.not_after - facts.not_before
    early = min(21 * DAY_S, length / 4)
    if facts.not_after - now < min(4 * DAY_S, length / 10):
        return failed("certificate", f"it expires in {_days(days)}", remedy)
    if facts.not_after - now < early:
        return warned("certificate", f"it expires in {_days(days)}", remedy)
    return passed("certificate", f"it lasts {_days(days)} more")


def _days(days: int) -> str:
    return "less than a day" if days == 0 else f"{days} day{'' if days == 1 else 's'}"


def _named(config: Config, found: Presented) -> Iterator[Check]:
    facts, host = found.facts, config.hostname
    name = "certificate"
    if any(covers(one, host) for one in facts.names):
        yield passed(name, f"it is for {host}", "names")
    else:
        names = ", ".join(facts.names) or "no name"
        yield failed(name, f"it is for {names} and not for {host}", f"get one for {host}", "names")
    if facts.is_self_signed:
        if config.practice.accounts:
            yield passed(name, "it is self-signed, as practice needs it", "chain")
            return
        remedy = 'let the server get one by itself: [acme] directory = "letsencrypt"'
        yield warned(name, "it is self-signed: mail programs will warn of it", remedy, "chain")
    elif found.chain_trouble:
        remedy = f"put the whole chain into {found.path}, the server's own first (fullchain.pem)"
        yield failed(name, f"nobody can trust it: {found.chain_trouble}", remedy, "chain")
    else:
        yield passed(name, f"it is from {facts.issuer}, and the chain is whole", "chain")


# --- TLSA -------------------------------------------------------------------------------------------------------------


def check_tlsa(host: str, answer: TlsaAnswer, chain_pem: bytes, *, may_tell: bool) -> Check:
    """DANE (RFC 7672): what is published for our host agrees with what it shows.

    `may_tell`: a resolver here validates; without one nothing is authentic, and so nothing can be said.
    """
    name = "tlsa"
    if not may_tell:
        return skipped(name, "TLSA records count with DNSSEC only, and no resolver on this machine validates it")
    if isinstance(answer, CannotTell):
        return unknown(name, f"the TLSA records of {host} could not be looked up: {answer.reason}", "see resolver")
    if not isinstance(answer, tuple):
        return passed(name, f"no TLSA records are published for {host}")
    chain = _certificates(chain_pem)
    good = [one for one in answer if agrees(one, chain)]
    if not good:
        return failed(
            name,
            f"no TLSA record of _25._tcp.{host} agrees with the certificate: who checks DANE sends no mail here",
            "publish what mailserver dns prints for it, or remove the records",
        )
    if len(good) < len(answer):
        return passed(name, f"{len(good)} of {len(answer)} TLSA records agree with the certificate; one is enough")
    return passed(name, f"the TLSA records of {host} agree with the certificate")


def agrees(record: TlsaRecord, chain: "list[x509.Certificate]") -> bool:
    """RFC 6698 2.1: 3 is about our own certificate, 2 about one of the chain; others mean nothing in SMTP."""
    import hashlib

    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    concerned = {3: chain[:1], 2: chain[1:] or chain[:1]}.get(record.usage, [])
    for one in concerned:
        if record.selector == 0:
            octets = one.public_bytes(Encoding.DER)
        else:
            octets = one.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        digest = {0: octets, 1: hashlib.sha256(octets).digest(), 2: hashlib.sha512(octets).digest()}
        if digest.get(record.matching) == record.association:
            return True
    return False


def _certificates(pem: bytes) -> "list[x509.Certificate]":
    from cryptography import x509

    return x509.load_pem_x509_certificates(pem)
