"""SPF while the client is still talking: begun with the first recipient that is taken, awaited when the verdict is
needed.

Nothing is asked for a client whose recipients are all refused, so that guessing addresses makes no questions. When the
transaction is forgotten, or time is over, at most one question is still under way; what it brings is thrown away.
"""

from dataclasses import dataclass, replace

from mailserver.mail.address import Mailbox
from mailserver.mail.dns import AddressAnswer, CannotTell, IpAddress, MxAnswer, TextAnswer
from mailserver.policy.spf.evaluation import SpfQuestion, check_host
from mailserver.policy.spf.result import SpfIdentity, SpfResult, SpfVerdict
from mailserver.ports import Clock, Resolver
from mailserver.session.meanwhile import Meanwhile

_GONE = CannotTell("not needed any more")


@dataclass(frozen=True, slots=True)
class SpfFinding:
    """One identity: what was asked, and what came of it."""

    question: SpfQuestion
    result: SpfResult


@dataclass(frozen=True, slots=True)
class SpfFindings:
    """What SPF says of one message. `sender` is about the reverse-path, or HELO when that is null (RFC 7208 2.4).

    `helo` is about HELO where it was asked besides. Both None: SPF was not asked.
    """

    sender: SpfFinding | None = None
    helo: SpfFinding | None = None

    @property
    def is_fail(self) -> bool:
        """Whether the sender's domain says that this client may not send in its name."""
        return self.sender is not None and self.sender.result.verdict is SpfVerdict.FAIL

    @property
    def told(self) -> tuple[SpfFinding, ...]:
        """What is worth telling: the sender's verdict always, that of HELO when its domain says anything."""
        helo = self.helo if self.helo is not None and self.helo.result.verdict is not SpfVerdict.NONE else None
        return tuple(one for one in (self.sender, helo) if one is not None)


NOT_ASKED = SpfFindings()


class SenderCheck(Meanwhile):
    """The questions of one transaction. Runs from the moment it is made."""

    def __init__(self, questions: tuple[SpfQuestion, ...], resolver: Resolver, clock: Clock, limit_s: float) -> None:
        """The first of `questions` is about the sender; a second one about HELO."""
        super().__init__()
        self._questions = questions
        self._results = {
            question.identity: SpfResult(SpfVerdict.TEMPERROR, question.identity, problem="DNS took too long")
            for question in questions
        }
        asking = _UntilOver(resolver, self)
        self._begin(
            [self._ask(question, asking, clock, limit_s) for question in questions], clock, limit_s, "checking SPF"
        )

    async def _ask(self, question: SpfQuestion, asking: Resolver, clock: Clock, limit_s: float) -> None:
        result = await check_host(question, asking, clock, limit_s=limit_s)
        if not self.is_over:
            self._results[question.identity] = result

    async def findings(self) -> SpfFindings:
        """The verdicts, when they are there or time is over."""
        await self.settled()
        found = [SpfFinding(question, self._results[question.identity]) for question in self._questions]
        return SpfFindings(found[0], found[1] if len(found) > 1 else None)


class _UntilOver:
    """A `Resolver` that asks nothing once the check is over."""

    def __init__(self, resolver: Resolver, check: SenderCheck) -> None:
        self._resolver = resolver
        self._check = check

    async def mx(self, domain: str) -> MxAnswer:
        return _GONE if self._check.is_over else await self._resolver.mx(domain)

    async def addresses(self, host: str, *, ipv4: bool = True, ipv6: bool = True) -> AddressAnswer:
        return _GONE if self._check.is_over else await self._resolver.addresses(host, ipv4=ipv4, ipv6=ipv6)

    async def text(self, name: str) -> TextAnswer:
        return _GONE if self._check.is_over else await self._resolver.text(name)

    async def pointer(self, address: IpAddress) -> TextAnswer:
        return _GONE if self._check.is_over else await self._resolver.pointer(address)


def spf_questions(
    client: IpAddress | None, reverse_path: Mailbox | None, hello: str, receiver: str
) -> tuple[SpfQuestion, ...]:
    """What to ask about a transaction (RFC 7208 2.3, 2.4). A client without an address is not asked about."""
    if client is None:
        return ()
    helo = SpfQuestion(client, hello, "", hello, receiver, SpfIdentity.HELO)
    if reverse_path is None:
        return (helo,)
    sender = replace(
        helo, domain=reverse_path.domain, local_part=reverse_path.local_part, identity=SpfIdentity.MAIL_FROM
    )
    return (sender, helo)
