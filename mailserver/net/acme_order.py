"""One certificate from the configuration to the disk: what there is, what is to be ordered, and the order itself.

For the running server and for the command line alike. Blocking; imports no Twisted, and the client only for an order.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace

from mailserver.config import Acme, AcmeChallenge, Config
from mailserver.config.acme import needed_names, wanted_names
from mailserver.mail.certificate import CertificateSummary
from mailserver.net.acme_challenges import Answers, DnsHook, OwnListener, Showing, Webroot
from mailserver.net.acme_values import AcmeTrouble, Authority, Fresh
from mailserver.policy.renewal import Past, Standing, after_failure
from mailserver.store.acme_folder import AcmeFolder, AcmeRecord
from mailserver.store.certificates import Unusable, key_kind, make_key, private_part, summary


@dataclass(frozen=True, slots=True)
class InForce:
    """The pair on disk."""

    pem: bytes
    summary: CertificateSummary
    key_kind: str

    def standing(self, acme: Acme, record: AcmeRecord) -> Standing:
        """As the rules want it."""
        about = self.summary
        return Standing(
            about.names,
            about.not_before,
            about.not_after,
            has_wanted_key=self.key_kind == acme.key_type.value,
            is_of_authority=record.obtained_from in ("", acme.directory),
        )


def in_force(folder: AcmeFolder) -> InForce | None:
    """What was obtained last; None when there is none, or it cannot be used: then another one is ordered."""
    try:
        pem = folder.pair()
        return None if pem is None else InForce(pem, summary(pem), key_kind(pem))
    except (OSError, Unusable):
        return None


def settings_stamp(config: Config) -> str:
    """Something else when the configuration of an order is another: an earlier failure says nothing then."""
    acme = config.acme
    parts = (
        acme.directory,
        acme.contact,
        acme.challenge.value,
        acme.webroot,
        acme.dns_hook,
        acme.propagation_wait,
        wanted_names(config),
        acme.key_type.value,
        acme.profile,
        acme.eab_key_id,
        acme.eab_key_file,
        acme.ca_file,
        tuple(config.listen.http),
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def record_for(config: Config, folder: AcmeFolder) -> AcmeRecord:
    """What is remembered for this configuration."""
    record = folder.remembered()
    stamp = settings_stamp(config)
    if record.settings == stamp:
        return record
    return AcmeRecord(
        settings=stamp,
        obtained_at=record.obtained_at,
        obtained_from=record.obtained_from,
        warned_for=record.warned_for,
    )


def failed(record: AcmeRecord, trouble: AcmeTrouble, now: float) -> AcmeRecord:
    """What is remembered after an order that failed."""
    past = after_failure(
        Past(record.failures, record.next_attempt_at, record.suggested_at),
        now,
        trouble.wait_s,
        is_limited=trouble.is_limited,
    )
    return replace(
        record,
        failures=past.failures,
        failed_at=now,
        next_attempt_at=past.next_attempt_at,
        reason=str(trouble),
        remedy=trouble.remedy,
    )


def showing_for(
    acme: Acme, answers: Answers | None = None, run: Callable[[Callable[[], None]], None] | None = None
) -> Showing | None:
    """How names are proven. `answers` and `run` are the web listener's, in the running server only."""
    if acme.challenge is AcmeChallenge.DNS_01:
        assert acme.dns_hook is not None, "the configuration was checked"
        return DnsHook(acme.dns_hook, acme.propagation_wait)
    if acme.webroot is not None:
        return Webroot(acme.webroot)
    if answers is None or run is None:
        return None
    return OwnListener(answers, run)


def order(
    config: Config,
    folder: AcmeFolder,
    names: tuple[str, ...],
    showing: Showing,
    wait: Callable[[float], None],
    now: Callable[[], float],
) -> Fresh:
    """Order a certificate; nothing of it is on disk yet. Raises `AcmeTrouble`, and what `wait` raises."""
    from mailserver.net.acme_client import AcmeClient

    acme = config.acme
    try:
        client = AcmeClient(_authority(acme), _account_key(folder), wait=wait, now=now)
        key_pem = _key(acme, in_force(folder))
        obtained = client.obtain(names, key_pem, showing)
    except OSError as error:
        where = error.filename2 or error.filename or folder.path
        raise AcmeTrouble(
            f"{where}: {(error.strerror or str(error)).lower()}",
            f"the user with the id {os.geteuid()} must be able to use it",
        ) from None
    return Fresh(key_pem, obtained.chain_pem, obtained.summary, obtained.left)


def suggested_renewal(config: Config, folder: AcmeFolder, now: Callable[[], float]) -> float | None:
    """When the authority would renew what is in force (RFC 9773); None when it has no opinion, or none was heard."""
    found = in_force(folder)
    if found is None:
        return None
    from mailserver.net.acme_client import AcmeClient

    try:
        return AcmeClient(_authority(config.acme), _account_key(folder), now=now).suggested_renewal(found.pem)
    except (OSError, AcmeTrouble):
        return None


def without(names: tuple[str, ...], trouble: AcmeTrouble, config: Config) -> tuple[str, ...]:
    """The names for which an order may be made at once although one for more has failed; empty when there is none.

    A name that only follows from what is served must not keep the host name from its certificate.
    """
    rest = tuple(name for name in names if name not in trouble.names)
    return rest if rest != names and set(needed_names(config)) <= set(rest) else ()


def _key(acme: Acme, before: InForce | None) -> bytes:
    """The key of the next certificate: the same, so that TLSA records stay right, or a new one."""
    if acme.reuse_key and before is not None and before.key_kind == acme.key_type.value:
        return private_part(before.pem)
    return make_key(acme.key_type.value)


def _account_key(folder: AcmeFolder) -> bytes:
    """The key of our account. Raises `OSError`, `AcmeTrouble`."""
    key = folder.account_key()
    try:
        if key_kind(key) == "p256":
            return key
    except Unusable:
        pass
    raise AcmeTrouble(
        f"{folder.path}/account.pem does not hold the key of an account", "remove it: a new account is made then"
    )


def _authority(acme: Acme) -> Authority:
    eab = None
    if acme.eab_key_file is not None:
        try:
            eab = (acme.eab_key_id, acme.eab_key_file.read_text("ascii").strip())
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not ASCII"
            raise AcmeTrouble(f"{acme.eab_key_file} cannot be read: {reason}", "mend acme.eab_key_file") from None
    if acme.ca_file is not None and not os.access(acme.ca_file, os.R_OK):
        raise AcmeTrouble(f"{acme.ca_file} cannot be read", "mend acme.ca_file")
    return Authority(acme.directory, acme.contact, acme.ca_file, eab, acme.profile)
