"""DMARC for one message: asked when SPF and DKIM are known, answered within a bounded time, and what follows from it.

A verdict that could not be had in time is *temperror*, and refuses nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailserver.mail.authentication_results import MethodResult
from mailserver.mail.dmarc import DmarcUse
from mailserver.mail.domains import most_specific
from mailserver.mail.reply import FROM_WITHOUT_AUTHOR, Reply, dmarc_refused
from mailserver.policy.dkim.result import DkimVerdict, SignatureResults
from mailserver.policy.dmarc.authors import authors_of
from mailserver.policy.dmarc.evaluation import LIMIT_S, Identifiers, check_dmarc
from mailserver.policy.dmarc.fields import method_result
from mailserver.policy.dmarc.result import Authors, Disposition, DmarcResult, DmarcVerdict, disposition, strictest
from mailserver.policy.spf.result import SpfVerdict
from mailserver.ports import Clock, Resolver
from mailserver.session.sender_check import SpfFindings

_log = Logger()
_FROM_MILD_TO_HARD = list(Disposition)


@dataclass(frozen=True, slots=True)
class DmarcSettings:
    """What is done with DMARC; `overrides` holds for a domain in From and those below it.

    `is_counted`: SPF and DKIM are told apart in each result, as reports to its domain need it.
    """

    use: DmarcUse = DmarcUse.CHECK
    overrides: Mapping[str, DmarcUse] = field(default_factory=lambda: MappingProxyType({}))
    refuses_quarantine: bool = False
    limit_s: float = LIMIT_S
    is_counted: bool = False

    @property
    def is_needed(self) -> bool:
        """Whether anything is asked at all."""
        return self.use is not DmarcUse.OFF or any(use is not DmarcUse.OFF for use in self.overrides.values())

    def use_for(self, domain: str) -> DmarcUse:
        """For a message with this domain in From; empty for one that cannot be read."""
        return most_specific(self.overrides, domain) or self.use


@dataclass(frozen=True, slots=True)
class DmarcFinding:
    """The verdict that counts for a message, and what is done because of it."""

    result: DmarcResult
    done: Disposition

    def __str__(self) -> str:
        """`fail example.org quarantine, done: quarantine`, as log and journal have it."""
        return str(self.result) if self.done is Disposition.NONE else f"{self.result}, done: {self.done.value}"

    @property
    def field_part(self) -> MethodResult:
        """For Authentication-Results."""
        return method_result(self.result, self.done)

    @property
    def refusal(self) -> Reply | None:
        """Why the message is refused; None when it is not."""
        if self.done is not Disposition.REJECT:
            return None
        return dmarc_refused(self.result.domain) if self.result.domain else FROM_WITHOUT_AUTHOR


class DmarcCheck:
    """The check of one message."""

    def __init__(
        self, section: bytes, settings: DmarcSettings, resolver: Resolver, clock: Clock, *, seen: bytes = b""
    ) -> None:
        """`section` is the header section as it came, whole; `seen` is what lenient readers take for it, if more.

        A From behind a line that is no field counts when there is no other: what stands there may be the body, too.
        """
        authors = authors_of(section)
        if not authors.domains and not authors.is_suspect and len(seen) > len(section):
            authors = authors_of(seen)
        wanted = tuple(one for one in authors.domains if settings.use_for(one) is not DmarcUse.OFF)
        self._is_off = not wanted and (bool(authors.domains) or settings.use is DmarcUse.OFF)
        self._authors = Authors(wanted, authors.problem, authors.is_suspect)
        self._settings = settings
        self._resolver = resolver
        self._clock = clock

    async def finding(self, signatures: SignatureResults, spf: SpfFindings) -> DmarcFinding | None:
        """The verdict, when it is there or time is over; None when nothing is asked for these authors."""
        if self._is_off:
            return None
        results = await self._results(identifiers_of(signatures, spf))
        done = {one: self._disposition(one) for one in results}
        hardest = max(done.values(), key=_FROM_MILD_TO_HARD.index)
        return DmarcFinding(strictest(one for one in results if done[one] is hardest), hardest)

    def _disposition(self, result: DmarcResult) -> Disposition:
        is_enforced = self._settings.use_for(result.domain) is DmarcUse.ENFORCE
        done = disposition(result, is_enforced=is_enforced)
        is_refused = done is Disposition.QUARANTINE and self._settings.refuses_quarantine
        return Disposition.REJECT if is_refused else done

    async def _results(self, identifiers: Identifiers) -> tuple[DmarcResult, ...]:
        """What DNS tells in time. A question still under way then is not waited for."""
        limit_s, over = self._settings.limit_s, Deferred[None]()
        found = tuple(
            DmarcResult(DmarcVerdict.TEMPERROR, domain, problem="DNS took too long") for domain in self._authors.domains
        )

        async def ask() -> None:
            nonlocal found
            try:
                answer = await check_dmarc(
                    self._authors,
                    identifiers,
                    self._resolver,
                    self._clock,
                    limit_s=limit_s,
                    tells_both=self._settings.is_counted,
                )
                if not over.called:
                    found = answer
            finally:
                end()

        def end() -> None:
            if not over.called:
                over.callback(None)

        timer = self._clock.call_later(limit_s, end)
        Deferred.fromCoroutine(ask()).addErrback(_broke)
        try:
            await over
        finally:
            timer.cancel()
        return found


def identifiers_of(signatures: SignatureResults, spf: SpfFindings) -> Identifiers:
    """Who answers for a message, from what SPF and DKIM found (RFC 9989 4.3)."""
    sender = None if spf.sender is None else spf.sender.result
    told = frozenset() if sender is None or not sender.domain else frozenset((sender.domain,))
    verdict = SpfVerdict.NONE if sender is None else sender.verdict
    return Identifiers(
        spf=told if verdict is SpfVerdict.PASS else frozenset(),
        dkim=signatures.passed_domains,
        undecided_spf=told if verdict is SpfVerdict.TEMPERROR else frozenset(),
        undecided_dkim=frozenset(
            one.domain for one in signatures.dkim if one.verdict is DkimVerdict.TEMPERROR and one.domain
        ),
    )


def _broke(failure: Failure) -> None:
    _log.failure("checking DMARC broke", failure=failure)
