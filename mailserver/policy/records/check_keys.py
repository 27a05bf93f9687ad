"""Checks of records about keys: DKIM's, those of the certificate (TLSA), and who may make certificates (CAA)."""

from dataclasses import replace

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mailserver.mail.dns import CannotTell
from mailserver.policy.dkim.key_record import KeyFault, VerifyingKey, find_key
from mailserver.policy.dkim.tags import parse_tags
from mailserver.policy.records.findings import Finding
from mailserver.policy.records.look import Look, as_found, missing, right, unknown, wrong
from mailserver.policy.records.values import Record, unquoted


async def check_dkim(record: Record, look: Look) -> Finding:
    """RFC 6376 3.6: the same key, usable, and alone at its name."""
    answer = await look.resolver.text(record.name)
    if isinstance(answer, CannotTell):
        return unknown(record, answer)
    if not isinstance(answer, tuple):
        return missing(record, answer)
    found = as_found(answer)
    if len(answer) > 1:
        reason = f"there are {len(answer)} records at this name, and others may take the wrong one: leave only this"
        return wrong(record, found, reason)
    algorithm = _algorithm(record)
    there = find_key(answer, algorithm)
    ours = find_key((unquoted(record.value),), algorithm)
    if isinstance(there, KeyFault):
        return wrong(record, found, there.reason)
    if isinstance(ours, VerifyingKey) and _octets(there) != _octets(ours):
        return wrong(record, found, "another key is published: signatures made with ours are found false")
    if there.is_testing:
        return right(record, found, "it says that it is a test (t=y), so some ignore the signatures")
    return right(record, found)


def _algorithm(record: Record) -> str:
    tags = parse_tags(unquoted(record.value).encode("ascii"))
    kind = "rsa" if isinstance(tags, str) or "k" not in tags else tags["k"].text
    return f"{kind}-sha256"


def _octets(key: VerifyingKey) -> bytes:
    """One form for all ways in which a key may be written."""
    return key.key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


async def check_tlsa(record: Record, look: Look) -> Finding:
    """RFC 7672 3.1: one of the records is for the key in force. A wrong one in a signed zone stops mail."""
    asked = await look.resolver.records(record.name, "TLSA")
    if isinstance(asked.answer, CannotTell):
        return unknown(record, asked.answer)
    if not isinstance(asked.answer, tuple):
        return await _no_tlsa(record, asked.answer, look)
    found = tuple(one.lower() for one in asked.answer)
    if record.value in found:
        told = (
            "" if asked.is_authentic else "whether your zone is signed, without which nobody looks at it, is not known"
        )
        return right(record, found, told)
    if any(f"3 1 1 {spki}" in found for spki in look.site.tlsa):
        return missing(record, asked.answer, found)
    # RFC 7672 3.1: usages 0 and 1 mean nothing in SMTP.
    if any(one.startswith("2 ") for one in found):
        return right(record, found, "it names an authority and not this server's key; whether it fits is not checked")
    if any(one.startswith("3 ") and not one.startswith("3 1 1 ") for one in found):
        return right(record, found, "it is of another form than 3 1 1; whether it fits is not checked here")
    if not any(one.startswith("3 ") for one in found):
        return missing(record, asked.answer, found)
    reason = "it is for another key than that of the certificate in force: senders that use DANE send nothing"
    return wrong(record, found, reason, is_harmful=True)


async def _no_tlsa(record: Record, answer: object, look: Look) -> Finding:
    """Whether it is worth publishing depends on the zone."""
    host = await look.resolver.records(look.site.hostname, "A")
    told = "the zone is signed, so it would count" if host.is_authentic else "it is of use only in a signed zone"
    finding = missing(record, answer)
    return replace(finding, reason=f"{finding.reason}; {told}")


async def check_caa(record: Record, look: Look) -> Finding:
    """RFC 8659 3: what counts are the records of the name, else those of the nearest domain above that has some."""
    labels = record.name.split(".")
    first: object = None
    for index in range(len(labels)):
        name = ".".join(labels[index:])
        asked = await look.resolver.records(name, "CAA")
        if isinstance(asked.answer, CannotTell):
            return unknown(record, asked.answer)
        first = asked.answer if first is None else first
        if isinstance(asked.answer, tuple):
            return _judged(record, name, asked.answer)
    return missing(record, first)


def _judged(record: Record, name: str, found: tuple[str, ...]) -> Finding:
    issuers = [issuer for one in found if (issuer := _issuer(one)) is not None]
    wanted = _issuer(record.value)
    if wanted in issuers:
        return right(record, found, "" if name == record.name else f"it stands at {name}, and counts for all below")
    if not issuers:
        return right(record, found, "it forbids no authority")
    reason = f"the records at {name} do not let {wanted} make certificates, so the next renewal fails"
    return wrong(record, found, reason, is_harmful=True)


def _issuer(value: str) -> str | None:
    """Whom an `issue` property names, empty for nobody; None for another property."""
    _, _, rest = value.partition(" ")
    tag, _, quoted_value = rest.partition(" ")
    return unquoted(quoted_value).partition(";")[0].strip().lower() if tag.lower() == "issue" else None
