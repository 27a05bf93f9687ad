"""Counts for our own reports: in memory first, written behind mail's back. Losing the last minute of them is no harm.

What is counted about a message or a session becomes a small JSON text, and `policy` makes reports of these.
"""

from mailserver.mail.reports import DAY_S, PublishedPolicy, SignatureSeen
from mailserver.maillog import Sink, Trouble
from mailserver.policy.dkim.result import DkimVerdict, SignatureResults
from mailserver.policy.dmarc.record import DmarcRecord
from mailserver.policy.dmarc.result import DmarcResult, DmarcVerdict
from mailserver.policy.reports.counted import (
    DMARC,
    TLS,
    CountedMessage,
    CountedSession,
    message_text,
    session_text,
)
from mailserver.ports import Blocking, Clock, Lane, Overloaded
from mailserver.relay.tls_results import TlsSession
from mailserver.session.dmarc_check import DmarcFinding
from mailserver.session.sender_check import SpfFindings
from mailserver.store.journal_format import JournalUnavailable
from mailserver.store.reports import ReportStore, Seen

FLUSH_S = 60.0
# Different things in memory; more are not counted until the next flush.
MAX_IN_MEMORY = 10_000
_MAX_SIGNATURES = 10
_TOLD_AGAIN_S = 6 * 3600.0
_EFFECT = "mail goes on; our own reports will say too little"


class Counts:
    """`dmarc` and `tls` are the doors that session and relay tell; `flush` is to be called each minute."""

    def __init__(self, store: ReportStore, *, blocking: Blocking, clock: Clock, log: Sink) -> None:
        self._store = store
        self._blocking = blocking
        self._clock = clock
        self._log = log
        self._counts: dict[Seen, int] = {}
        self._told_at = float("-inf")

    def dmarc(self, signatures: SignatureResults, spf: SpfFindings, finding: DmarcFinding) -> None:
        """A stranger's message that DMARC was asked about; `session.authentication.CountDmarc`."""
        result, sender = finding.result, spf.sender
        if result.verdict not in (DmarcVerdict.PASS, DmarcVerdict.FAIL) or result.record is None or sender is None:
            return
        if not result.record.reports_to:
            return  # nobody wants a report
        reverse_path = sender.question
        counted = CountedMessage(
            str(reverse_path.client),
            finding.done.value,
            result.has_aligned_dkim,
            result.has_aligned_spf,
            result.domain,
            reverse_path.domain if reverse_path.local_part else "",
            _signatures(signatures),
            sender.result.domain,
            sender.result.verdict.value,
            _reasons(result, finding),
            published(result.record_at, result.record),
        )
        self._add(DMARC, result.record_at, message_text(counted))

    def tls(self, session: TlsSession) -> None:
        """A session to a domain's mail hosts; `relay.tls_results.TellTls`."""
        counted = CountedSession(
            session.kind,
            session.texts,
            session.hosts,
            session.host,
            session.address,
            session.result,
            session.reason,
        )
        self._add(TLS, session.domain, session_text(counted))

    async def flush(self) -> None:
        """Write down what was counted; what cannot be written now is kept, within bounds."""
        counts, self._counts = self._counts, {}
        if not counts:
            return
        try:
            lost = await self._blocking.run(Lane.GENERAL, self._store.count, counts)
        except Overloaded:
            self._put_back(counts)
        except JournalUnavailable as trouble:
            self._put_back(counts)
            self._tell(str(trouble))
        else:
            if lost:
                self._tell(f"there is no room for {lost} of the counts of a day")

    def _add(self, kind: str, domain: str, what: str) -> None:
        seen = Seen(kind, int(self._clock.now() // DAY_S), domain, what)
        if seen in self._counts or len(self._counts) < MAX_IN_MEMORY:
            self._counts[seen] = self._counts.get(seen, 0) + 1

    def _put_back(self, counts: dict[Seen, int]) -> None:
        for seen, count in counts.items():
            if seen in self._counts or len(self._counts) < MAX_IN_MEMORY:
                self._counts[seen] = self._counts.get(seen, 0) + count

    def _tell(self, reason: str) -> None:
        now = self._clock.monotonic()
        if now - self._told_at > _TOLD_AGAIN_S:
            self._told_at = now
            self._log(Trouble("", "the counts for our own reports", reason, _EFFECT))


def _signatures(signatures: SignatureResults) -> tuple[SignatureSeen, ...]:
    """Those that passed first (RFC 9990 3.1.3), so that the others are what may be left out."""
    told = [one for one in signatures.dkim if one.domain]
    told.sort(key=lambda one: one.verdict is not DkimVerdict.PASS)
    return tuple(SignatureSeen(one.domain, one.selector, one.verdict.value) for one in told[:_MAX_SIGNATURES])


def _reasons(result: DmarcResult, finding: DmarcFinding) -> tuple[str, ...]:
    """Why what was done is not what was asked for (RFC 9990 3.1.6)."""
    if result.verdict is DmarcVerdict.PASS:
        return ()
    if finding.done.value != result.policy.value:
        return ("local_policy",)
    return ("policy_test_mode",) if result.is_testing else ()


def published(domain: str, record: DmarcRecord) -> PublishedPolicy:
    """A record as reports show it."""
    return PublishedPolicy(
        domain,
        record.policy.value,
        "" if record.subdomains is None else record.subdomains.value,
        "" if record.nonexistent is None else record.nonexistent.value,
        record.dkim.value,
        record.spf.value,
        record.is_testing,
        ":".join(record.failure_options),
    )
