"""Block lists for one client, asked while it is still greeting; awaited at RCPT, and never longer than the limit.

Nothing a list does or leaves undone counts against the client: no answer, an error, a list that lists everything. Such
a list is told in the log once, and after some trouble in a row it is not asked for a while.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mailserver.mail.dns import CannotTell, IpAddress
from mailserver.mail.peer import IpNetwork, Peer
from mailserver.maillog import NeighborBack, NeighborDown, Sink, Trouble
from mailserver.policy.dnsbl import (
    BlockList,
    Hit,
    Listing,
    LooksAt,
    client_name,
    domain_name,
    explanation_of,
    is_listed,
    is_stranger_to_lists,
    what_is_wrong,
)
from mailserver.ports import Clock, Resolver
from mailserver.session.meanwhile import Meanwhile

LIMIT_S = 2.0
# So many questions in a row without a usable answer, and a list is left alone for this long.
FAILURES_TO_REST = 3
REST_S = 60.0
# Each question has a socket of its own, and a slow name server keeps it for some ten seconds: a crowd of clients must
# not use up the descriptors that their mail needs. Beyond these nobody is asked about.
MAX_QUESTIONS = 200
CROWD_TOLD_EACH_S = 600.0


@dataclass(frozen=True, slots=True)
class ListSettings:
    """`refuse_at` and `junk_at` are sums of weights, None for never."""

    lists: tuple[BlockList, ...]
    refuse_at: int | None = None
    junk_at: int | None = None
    exempt: tuple[IpNetwork, ...] = ()
    limit_s: float = LIMIT_S
    asks_inside: bool = False


@dataclass(slots=True)
class _Standing:
    """How a list has been doing."""

    failures: int = 0
    rests_until: float = 0.0
    down_since: float | None = None


class BlockLists:
    """All lists of a server, and how each is doing."""

    def __init__(self, settings: ListSettings, resolver: Resolver, clock: Clock, log: Sink) -> None:
        self.settings = settings
        self._resolver = resolver
        self._clock = clock
        self._log = log
        self.under_way = 0
        self._crowd_told_at = float("-inf")
        self._standings = {one.zone: _Standing() for one in settings.lists}
        self._by_client = tuple(one for one in settings.lists if one.looks_at is LooksAt.CLIENT)
        self._by_domain = tuple(one for one in settings.lists if one.looks_at is LooksAt.DOMAIN)

    def concerns(self, peer: Peer) -> bool:
        """Whether lists are asked about this client."""
        return is_stranger_to_lists(peer, self.settings.exempt, asks_inside=self.settings.asks_inside)

    def begin_client(self, address: IpAddress | None) -> "ListCheck | None":
        """Begin to ask about an address; None when there is nothing to ask."""
        if address is None:
            return None
        return self._begin([(one, client_name(address, one.zone), str(address)) for one in self._by_client])

    def begin_domains(self, domains: Iterable[str]) -> "ListCheck | None":
        """Begin to ask about the domains that a message names; None when there is nothing to ask."""
        if not self._by_domain:
            return None
        names = dict.fromkeys(domains)
        questions = [
            (one, name, domain)
            for one in self._by_domain
            for domain in names
            if (name := domain_name(domain, one.zone)) is not None
        ]
        return self._begin(questions)

    def _begin(self, questions: "list[Question]") -> "ListCheck | None":
        now = self._clock.monotonic()
        due = [one for one in questions if self._standings[one[0].zone].rests_until <= now]
        if due and self.under_way + len(due) > MAX_QUESTIONS:
            self._tell_crowd(now)
            return None
        return ListCheck(self, due, self._resolver, self._clock, self.settings.limit_s) if due else None

    def _tell_crowd(self, now: float) -> None:
        if now - self._crowd_told_at >= CROWD_TOLD_EACH_S:
            self._crowd_told_at = now
            reason = f"more than {MAX_QUESTIONS} questions are under way"
            self._log(Trouble("", "block lists", reason, "no list is asked about some clients"))

    def worked(self, block_list: BlockList) -> None:
        """It gave a usable answer."""
        standing = self._standings[block_list.zone]
        standing.failures = 0
        if standing.down_since is not None:
            down_s = self._clock.monotonic() - standing.down_since
            standing.down_since = None
            self._log(NeighborBack(f"block list {block_list.name}", down_s))

    def failed(self, block_list: BlockList, reason: str) -> None:
        """It did not."""
        standing, now = self._standings[block_list.zone], self._clock.monotonic()
        standing.failures += 1
        if standing.failures < FAILURES_TO_REST:
            return
        standing.rests_until = now + REST_S
        if standing.down_since is None:
            standing.down_since = now
            effect = "it lists nobody until it works"
            self._log(NeighborDown(f"block list {block_list.name}", reason, effect))


# The list, the name to ask for, and what that is about.
Question = tuple[BlockList, str, str]


class ListCheck(Meanwhile):
    """Some questions to some lists, all at once. Runs from the moment it is made."""

    def __init__(
        self, lists: BlockLists, questions: Sequence[Question], resolver: Resolver, clock: Clock, limit_s: float
    ) -> None:
        super().__init__()
        self._lists = lists
        self._resolver = resolver
        self._hits: dict[str, Hit] = {}
        self._unanswered = {name: block_list for block_list, name, _ in questions}
        self._begin([self._ask(question) for question in questions], clock, limit_s, "asking a block list")

    @property
    def listing(self) -> Listing:
        """What is known so far."""
        return Listing(tuple(self._hits.values()))

    async def _ask(self, question: Question) -> None:
        block_list, name, subject = question
        self._lists.under_way += 1
        try:
            answer = await self._resolver.addresses(name, ipv6=False)
            if self.is_over:
                return
            self._unanswered.pop(name, None)
            trouble = answer.reason if isinstance(answer, CannotTell) else what_is_wrong(answer)
            is_hit = is_listed(block_list, answer)
            if is_hit and await self._lists_everything(block_list):
                trouble, is_hit = "it lists everything", False
            if self.is_over:
                return
            if is_hit:
                self._hits[name] = Hit(block_list, subject)
            if trouble and not is_hit:
                self._lists.failed(block_list, trouble)
                return
            self._lists.worked(block_list)
            if is_hit and block_list.weight > 0:
                await self._explain(block_list, name, subject)
        finally:
            self._lists.under_way -= 1

    async def _lists_everything(self, block_list: BlockList) -> bool:
        return is_listed(block_list, await self._resolver.addresses(block_list.test_name, ipv6=False))

    async def _explain(self, block_list: BlockList, name: str, subject: str) -> None:
        texts = await self._resolver.text(name)
        if isinstance(texts, tuple) and not self.is_over:
            self._hits[name] = Hit(block_list, subject, explanation_of(texts))

    def _time_is_over(self) -> None:
        for block_list in dict.fromkeys(self._unanswered.values()):
            self._lists.failed(block_list, "no answer in time")
        super()._time_is_over()
