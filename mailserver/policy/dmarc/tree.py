"""The DNS tree walk (RFC 9989 4.10): where the records that concern a domain stand, and which is its organization.

A walk costs at most eight questions, however long the name is. Within one `DnsTree` no name is asked about twice, so
that several walks through the same branches cost little more than one.
"""

from collections.abc import Mapping

from mailserver.mail.dns import CannotTell, NoSuchName
from mailserver.mail.reply import printable
from mailserver.policy.dmarc.record import DmarcRecord, PublicSuffix, only_record
from mailserver.ports import Clock, Resolver

MAX_QUESTIONS = 8
_MAX_NAME_OCTETS = 253
_MAX_SHOWN_CHARS = 100


class Undecided(Exception):
    """DNS cannot tell now; the text says what."""


def walk_targets(domain: str) -> tuple[str, ...]:
    """The domains at which a walk from `domain` looks, in order: itself, then up to seven labels, one less each time.

    `domain` is canonical.
    """
    labels = domain.split(".")
    rest = labels[1:] if len(labels) < MAX_QUESTIONS else labels[-(MAX_QUESTIONS - 1) :]
    return (domain, *(".".join(rest[index:]) for index in range(len(rest))))


def organizational_domain(domain: str, found: Mapping[str, DmarcRecord]) -> str:
    """The organizational domain (RFC 9989 4.10.2), from the records of a walk that began at `domain`."""
    highest = domain
    for target in walk_targets(domain):
        record = found.get(target)
        if record is None:
            continue
        if record.public_suffix is PublicSuffix.NO:
            return target
        if record.public_suffix is PublicSuffix.YES and target != domain:
            return _one_below(domain, target)
        highest = target
    return highest


def _one_below(domain: str, target: str) -> str:
    """The domain with one label more than `target` on the way down to `domain`."""
    count = target.count(".") + 2
    return ".".join(domain.split(".")[-count:])


class DnsTree:
    """Records by domain, each asked for once. Raises `Undecided` where DNS cannot tell, or when time is over."""

    def __init__(self, resolver: Resolver, clock: Clock, limit_s: float) -> None:
        self._resolver = resolver
        self._clock = clock
        self._over_at = clock.monotonic() + limit_s
        self._records: dict[str, DmarcRecord | None] = {}
        self._existing: dict[str, bool] = {}

    async def record(self, domain: str) -> DmarcRecord | None:
        """The one record of a domain itself."""
        if domain not in self._records:
            name = f"_dmarc.{domain}"
            texts = await self._texts(name) if len(name) <= _MAX_NAME_OCTETS else NoSuchName()
            if isinstance(texts, NoSuchName):
                self._records[domain] = None
            else:
                self._existing[domain] = True  # something stands below it
                self._records[domain] = only_record(texts)
        return self._records[domain]

    async def walk(self, domain: str) -> dict[str, DmarcRecord]:
        """The records of a walk from `domain` on, up to one that says whether it is a public suffix."""
        found: dict[str, DmarcRecord] = {}
        for target in walk_targets(domain):
            record = await self.record(target)
            if record is not None:
                found[target] = record
                if record.public_suffix is not PublicSuffix.UNSAID:
                    break
        return found

    async def organization(self, domain: str) -> str:
        """The organizational domain of a domain."""
        return organizational_domain(domain, await self.walk(domain))

    async def exists(self, domain: str) -> bool:
        """Whether a name exists: NXDOMAIN says that it does not, nor anything below (RFC 8020)."""
        if domain not in self._existing:
            self._existing[domain] = not isinstance(await self._texts(domain), NoSuchName)
        return self._existing[domain]

    async def _texts(self, name: str) -> tuple[str, ...] | NoSuchName:
        if self._clock.monotonic() >= self._over_at:
            raise Undecided("DNS took too long")
        answer = await self._resolver.text(name)
        if isinstance(answer, CannotTell):
            raise Undecided(printable(f"{name[:_MAX_SHOWN_CHARS]}: {answer.reason}"))
        if isinstance(answer, tuple | NoSuchName):
            return answer
        return ()
