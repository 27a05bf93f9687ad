"""What the checks look at: the configuration, the doors to the world, and what is found out once for all of them."""

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mailserver.config import Config
from mailserver.config.own_mta_sts import own_policy
from mailserver.doctor.queue import QueueFacts, read_queue
from mailserver.doctor.server import ServerFacts
from mailserver.ports import Dialer, Lane, RecordResolver, SignedResolver
from mailserver.store.account_tables import AccountTables
from mailserver.survey.doors import SurveyDoors
from mailserver.survey.lists import list_named
from mailserver.survey.look import look
from mailserver.survey.values import NameServer, Survey, Wishes

T = TypeVar("T")


class Once(Generic[T]):
    """Finds something out when first asked, and tells all who ask. Who stops waiting stops nobody else."""

    def __init__(self, find: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._find = find
        self._is_begun = False
        self._found: list[T | Failure] = []
        self._waiting: list[Deferred[T]] = []

    async def get(self) -> T:
        """What was found, or what finding it raised."""
        if not self._is_begun:
            self._is_begun = True
            Deferred.fromCoroutine(self._find()).addBoth(self._end)
        if not self._found:
            waiting: Deferred[T] = Deferred()
            self._waiting.append(waiting)
            return await waiting
        found = self._found[0]
        if isinstance(found, Failure):
            found.raiseException()
        assert not isinstance(found, Failure)
        return found

    def _end(self, result: T | Failure) -> None:
        self._found.append(result)
        for waiting in self._waiting:
            # One that was canceled has fired and takes no second call amiss.
            if isinstance(result, Failure):
                waiting.errback(result)
            else:
                waiting.callback(result)
        self._waiting.clear()


@dataclass(frozen=True, slots=True)
class CaseDoors:
    """The doors of a survey, and what only some checks ask.

    `local` opens connections to this very machine, from whatever address. `fetch_policy` gets a domain's MTA-STS policy
    file, or raises `ConnectionFailed`. `authority` asks the name servers of a zone themselves, past all caches; None:
    what a cache says counts.
    """

    survey: SurveyDoors
    signed: SignedResolver
    records: RecordResolver
    local: Dialer
    fetch_policy: Callable[[str], Awaitable[bytes]]
    authority: RecordResolver | None = None


@dataclass(slots=True)
class Case:
    """One look at one server. `server` None: it does not run. `tables` a text: why there are none.

    `now` in seconds since the epoch. `name_servers`: which are asked whether they validate. `tries_port25`: hosts of
    others may be connected to. `only`: the names of the checks that are made; empty: all.
    """

    config: Config
    doors: CaseDoors
    server: ServerFacts | None
    tables: AccountTables | str
    now: float
    name_servers: tuple[NameServer, ...] = ()
    tries_port25: bool = False
    only: frozenset[str] = frozenset()
    _survey: Once[Survey] = field(init=False)
    _queue: Once[QueueFacts] = field(init=False)

    def __post_init__(self) -> None:
        self._survey = Once(lambda: look(self.doors.survey, self.wishes))
        self._queue = Once(lambda: self.blocking(read_queue, self.config.storage.state, self.now))

    @property
    def wishes(self) -> Wishes:
        """What the survey is to find out for the checks that are made; the clock has no need of it."""
        wanted, relay = self.config.doctor, self.config.relay
        return Wishes(
            hostname=self.config.hostname,
            addresses=wanted.addresses,
            sources=tuple(one for one in (relay.source_address, relay.source_address6) if one is not None),
            ask_url=wanted.address_url,
            lists=tuple(map(list_named, wanted.lists)) if self.makes("lists") else (),
            port25_domains=wanted.port25_domains if self.tries_port25 and self.makes("port25") else (),
            port25=relay.port,
            name_servers=self.name_servers if self.makes("resolver") or self.makes("tlsa") else (),
            signed_name=wanted.signed_name,
        )

    def makes(self, name: str) -> bool:
        """Whether a check is one of those that are made."""
        return not self.only or name in self.only

    @property
    def serves_mta_sts(self) -> bool:
        """Whether the configuration wants policies of our own to be served."""
        return own_policy(self.config) is not None

    async def survey(self) -> Survey:
        """Made when the first check asks for it, once for all."""
        return await self._survey.get()

    async def queue(self) -> QueueFacts:
        """What the queue's files say, read once for all. Raises `OSError`."""
        return await self._queue.get()

    async def blocking(self, call: Callable[..., T], *arguments: object) -> T:
        """Run something that blocks, elsewhere."""
        return await self.doors.survey.blocking.run(Lane.GENERAL, call, *arguments)
