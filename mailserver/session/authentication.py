"""Who sent this: what is found out about a stranger's message between its first octet and its 250.

The one step in which all checks of a sender meet. It looks up what they need, all at once and within a bounded time;
what DNS does not tell by then is *temperror*, never a message kept waiting. The verdicts are written into the message
(RFC 8601) and told to the journal; what follows from them is decided elsewhere.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailserver.mail.authentication_results import NAME, authentication_results, without_forged
from mailserver.mail.dns import CannotTell, TextAnswer
from mailserver.mail.envelope import Envelope
from mailserver.mail.headers import first_value
from mailserver.mail.peer import Peer
from mailserver.mail.reply import Reply, spf_refused
from mailserver.policy.dkim.check import SignatureCheck, is_signed
from mailserver.policy.dkim.fields import method_results
from mailserver.policy.dkim.result import NOTHING_SIGNED, SignatureResults
from mailserver.policy.spf.evaluation import LIMIT_S
from mailserver.policy.spf.fields import method_result, received_spf
from mailserver.ports import Blocking, Clock, Lane, Resolver
from mailserver.session.dmarc_check import DmarcCheck, DmarcFinding, DmarcSettings
from mailserver.session.sender_check import NOT_ASKED, SenderCheck, SpfFindings, spf_questions

# For all keys of one message together. A resolver gives up on one name within some 20 seconds.
KEYS_LIMIT_S = 10.0

_log = Logger()


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found out about one message."""

    signatures: SignatureResults = NOTHING_SIGNED
    spf: SpfFindings = NOT_ASKED
    # None: nothing was asked.
    dmarc: DmarcFinding | None = None

    @property
    def refusal(self) -> Reply | None:
        """Why the message is refused, now that all of it is there; None when it is not."""
        return None if self.dmarc is None else self.dmarc.refusal


@dataclass(frozen=True, slots=True)
class SpfSettings:
    """What is done with SPF: *fail* is refused, or only written down; and for how long DNS is waited for."""

    refuses_fail: bool = False
    writes_received_spf: bool = False
    limit_s: float = LIMIT_S


# Told of every message that DMARC was asked about, for reports to its domain.
CountDmarc = Callable[[SignatureResults, SpfFindings, DmarcFinding], None]
# RFC 9990 and RFC 8460 5.3: the subject of reports. They are not reported on, or two servers would do so for ever.
_REPORT_SUBJECT = b"report domain:"


class Authentication:
    """Holds what does not change from message to message."""

    def __init__(
        self,
        hostname: str,
        resolver: Resolver,
        blocking: Blocking,
        clock: Clock,
        *,
        checks_dkim: bool = True,
        spf: SpfSettings | None = None,
        dmarc: DmarcSettings | None = None,
        checks_loopback: bool = False,
        count_dmarc: CountDmarc | None = None,
    ) -> None:
        """`hostname` is the name under which verdicts are written (the authserv-id of RFC 8601 2.5).

        `spf` None: SPF is not asked; `dmarc` likewise, and it needs both others. `checks_loopback`: clients on this
        machine are strangers as well.
        """
        self._hostname = hostname
        self._resolver = resolver
        self._blocking = blocking
        self._clock = clock
        self._checks_dkim = checks_dkim
        self._spf = spf
        self._dmarc = dmarc if checks_dkim and spf is not None and dmarc is not None and dmarc.is_needed else None
        self._checks_loopback = checks_loopback
        self._count_dmarc = count_dmarc

    def concerns(self, peer: Peer) -> bool:
        """Whether a stranger at this address is looked into."""
        return self._checks_loopback or not peer.is_loopback

    def begin_sender(self, envelope: Envelope, peer: Peer, hello: str) -> SenderCheck | None:
        """Begin what needs only the envelope (SPF); None when there is nothing to ask."""
        if self._spf is None:
            return None
        questions = spf_questions(peer.address, envelope.reverse_path, hello, self._hostname)
        return SenderCheck(questions, self._resolver, self._clock, self._spf.limit_s) if questions else None

    def refusal(self, spf: SpfFindings) -> Reply | None:
        """Why a message is refused for its envelope; None when it is not."""
        if self._spf is None or not self._spf.refuses_fail or spf.sender is None or not spf.is_fail:
            return None
        result = spf.sender.result
        return spf_refused(result.domain, str(spf.sender.question.client), result.explanation)

    def trace(self, spf: SpfFindings) -> bytes:
        """The Received-SPF fields that go above our Received; none when they are not wanted."""
        if self._spf is None or not self._spf.writes_received_spf:
            return b""
        return b"".join(received_spf(one.result, one.question) for one in spf.told)

    def begin(
        self, section: bytes, *, is_whole_header: bool, spf: SpfFindings = NOT_ASKED, seen: bytes = b""
    ) -> "MessageAuthentication":
        """One message, whose header section as it came is `section`; `spf` is what its envelope told.

        `seen` is what lenient readers take for the section, if that is more.
        """
        check = None
        if self._checks_dkim and is_signed(section):
            check = SignatureCheck(section, self._clock.now(), is_whole_header=is_whole_header)
        dmarc = None
        if self._dmarc is not None:
            dmarc = DmarcCheck(section, self._dmarc, self._resolver, self._clock, seen=seen)
        count = self._count_dmarc
        if count is not None and first_value(section, b"subject").lstrip().lower().startswith(_REPORT_SUBJECT):
            count = None
        return MessageAuthentication(
            self._hostname, check, self._resolver, self._blocking, self._clock, self._checks_dkim, spf, dmarc, count
        )

    def without_forged(self, content: bytes) -> bytes:
        """The content, of which this is at least the header, without fields that say they are ours (RFC 8601 5)."""
        end = content.find(b"\r\n\r\n")
        seen = content[: end + 2] if end >= 0 else content
        if NAME not in seen.lower():
            return content
        return without_forged(seen, self._hostname) + content[len(seen) :]


class MessageAuthentication:
    """The checks of one message: the body passes by, then `finish`."""

    def __init__(
        self,
        hostname: str,
        check: SignatureCheck | None,
        resolver: Resolver,
        blocking: Blocking,
        clock: Clock,
        checks_dkim: bool,
        spf: SpfFindings = NOT_ASKED,
        dmarc: DmarcCheck | None = None,
        count_dmarc: CountDmarc | None = None,
    ) -> None:
        self._hostname = hostname
        self._check = check
        self._resolver = resolver
        self._blocking = blocking
        self._clock = clock
        self._checks_dkim = checks_dkim
        self._spf = spf
        self._dmarc = dmarc
        self._count_dmarc = count_dmarc

    def body(self, piece: bytes) -> None:
        """The next octets of the body, CRLF line ends, cut anywhere."""
        if self._check is not None:
            self._check.body(piece)

    async def finish(self) -> Findings:
        """The verdicts, when the content is at its end. Raises `Overloaded`."""
        signatures = await self._signatures()
        dmarc = None if self._dmarc is None else await self._dmarc.finding(signatures, self._spf)
        if self._count_dmarc is not None and dmarc is not None:
            self._count_dmarc(signatures, self._spf, dmarc)
        return Findings(signatures, self._spf, dmarc)

    def field(self, findings: Findings, most_octets: int | None = None) -> bytes:
        """The Authentication-Results field (RFC 8601) with its CRLF.

        It is within `most_octets`: comments and reasons that do not fit are left out, then the last signatures.
        """
        results = [method_result(one.result, one.question) for one in findings.spf.told]
        if findings.dmarc is not None:
            results.append(findings.dmarc.field_part)  # before the signatures: the last ones are what may be left out
        if self._checks_dkim:
            results += method_results(findings.signatures)
        return authentication_results(self._hostname, results, most_octets=most_octets)

    async def _signatures(self) -> SignatureResults:
        check = self._check
        if check is None:
            return NOTHING_SIGNED
        keys = await fetch_texts(self._resolver, self._clock, check.key_names, KEYS_LIMIT_S)
        return await self._blocking.run(Lane.GENERAL, check.results, keys)


async def fetch_texts(resolver: Resolver, clock: Clock, names: Iterable[str], limit_s: float) -> dict[str, TextAnswer]:
    """The TXT records of all names, asked for at once. What is not there after `limit_s` is `CannotTell`."""
    answers: dict[str, TextAnswer] = {name: CannotTell("no answer in time") for name in names}
    if not answers:
        return {}
    over: Deferred[None] = Deferred()
    left = len(answers)

    def end() -> None:
        if not over.called:
            over.callback(None)

    async def ask(name: str) -> None:
        nonlocal left
        try:
            answer = await resolver.text(name)
            if not over.called:
                answers[name] = answer
        finally:
            left -= 1
            if not left:
                end()

    def broke(failure: Failure) -> None:
        _log.failure("looking up a key broke", failure=failure)

    for name in tuple(answers):
        Deferred.fromCoroutine(ask(name)).addErrback(broke)
    timer = clock.call_later(limit_s, end)
    try:
        await over
    finally:
        timer.cancel()
    return answers
