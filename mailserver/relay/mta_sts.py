"""Which MTA-STS policy a domain has now: asked of DNS, fetched when new, remembered (RFC 8461 3.3, 5.1). Async.

Decisions:

- The mail that needs a policy waits for its first fetch, for half a minute at most; other mail does not. Questions for
  the same domain share one fetch.
- A policy that cannot be fetched leaves the remembered one in force, for as long as that may last. After a failure
  nobody asks again for five minutes.
- A record that is gone changes nothing as long as a policy is remembered: an attacker can hide it. A domain that wants
  to be rid of its policy publishes one with mode `none`.
- A remembered policy is fetched anew when half of its time is over, also where no mail goes just now.
"""

from collections.abc import Awaitable, Callable

from twisted.internet.defer import Deferred

from mailserver.mail.dns import CannotTell
from mailserver.mail.fault import SyntaxFault
from mailserver.mail.mta_sts import NoStsPolicy, StsAnswer
from mailserver.maillog import Sink, StsNotFetched, StsPolicyLearned, Trouble
from mailserver.policy.mta_sts import parse_policy, policy_id
from mailserver.ports import Blocking, Clock, ConnectionFailed, Lane, Resolver
from mailserver.relay.gathered_writes import GatheredWrites
from mailserver.store.spool_json import Damaged, NewerFormat
from mailserver.store.sts_policies import FetchedPolicy, StsPolicyFile

MAX_DOMAINS = 10_000
NOT_AGAIN_S = 300.0
# In one round of refreshing, so that a long list costs a trickle.
MAX_REFRESHED = 50
_GATHER_S = 10.0
_MAX_FAILED = 10_000

FetchPolicy = Callable[[str], Awaitable[bytes]]


class StsPolicies:
    """`mailserver.ports.StsPolicySource`. Construct, `load` under the state lock (blocking); `stop` writes the rest."""

    def __init__(
        self,
        resolver: Resolver,
        fetch: FetchPolicy,
        file: StsPolicyFile,
        *,
        blocking: Blocking,
        clock: Clock,
        sink: Sink,
    ) -> None:
        self._resolver = resolver
        self._fetch = fetch
        self._file = file
        self._blocking = blocking
        self._clock = clock
        self._sink = sink
        self._known: dict[str, FetchedPolicy] = {}
        self._not_before: dict[str, float] = {}
        self._fetching: dict[str, list[Deferred[None]]] = {}
        effect = "policies are remembered only within this run until it can; tried again every ten seconds"
        self._writes = GatheredWrites(file.path, self._write, _GATHER_S, effect, clock, sink)
        self._is_stopped = False

    def load(self) -> None:
        """Read the file (blocking). What cannot be read is told, and policies are fetched anew."""
        try:
            self._known = self._file.read()
        except Damaged as damage:
            self._sink(Trouble("", f"{self._file.path} is damaged", str(damage), "policies are fetched anew"))
        except (NewerFormat, OSError) as trouble:
            # Not to be written over: it belongs to another release, or its disk is in trouble.
            self._writes.is_allowed = False
            self._sink(Trouble("", str(self._file.path), str(trouble), "policies are remembered only within this run"))

    async def policy(self, domain: str) -> StsAnswer:
        """The policy in force for mail to a canonical domain, fetched if need be; bounded in time."""
        answer = await self._resolver.text(f"_mta-sts.{domain}")
        record_id = policy_id(answer) if isinstance(answer, tuple) else None
        known = self._valid(domain)
        if record_id is not None and (known is None or known.record_id != record_id):
            await self._refresh(domain, record_id)
            known = self._valid(domain)
        if known is not None:
            return known.policy
        if isinstance(answer, CannotTell):
            return NoStsPolicy(f"DNS could not tell whether there is a policy: {answer.reason}")
        return NoStsPolicy("no policy is published" if record_id is None else "the policy could not be fetched")

    def remembered(self, domain: str) -> FetchedPolicy | None:
        """What is remembered and still in force; asks nobody."""
        return self._valid(domain)

    async def look(self) -> None:
        """Fetch anew what has lived half of its time, a few at a time; forget what is over. To be called hourly."""
        now = self._clock.now()
        for domain in [domain for domain, one in self._known.items() if not one.is_valid(now)]:
            del self._known[domain]
        old = [
            (one.fetched_at, domain)
            for domain, one in self._known.items()
            if now - one.fetched_at > one.policy.max_age_s / 2
        ]
        for _, domain in sorted(old)[:MAX_REFRESHED]:
            if self._is_stopped:
                return
            await self._refresh(domain, None)

    def _valid(self, domain: str) -> FetchedPolicy | None:
        known = self._known.get(domain)
        return known if known is not None and known.is_valid(self._clock.now()) else None

    async def _refresh(self, domain: str, record_id: str | None) -> None:
        """Fetch, or wait for who fetches already. `record_id` None: the one that is known stays."""
        if domain in self._fetching:
            waiting: Deferred[None] = Deferred()
            self._fetching[domain].append(waiting)
            await waiting
            return
        if self._clock.monotonic() < self._not_before.get(domain, 0.0):
            return
        self._fetching[domain] = []
        try:
            await self._fetch_one(domain, record_id)
        finally:
            for one in self._fetching.pop(domain):
                one.callback(None)

    async def _fetch_one(self, domain: str, record_id: str | None) -> None:
        known = self._known.get(domain)
        try:
            policy = parse_policy(await self._fetch(domain))
        except ConnectionFailed as failed:
            self._failed(domain, str(failed))
            return
        if isinstance(policy, SyntaxFault):
            self._failed(domain, policy.reason)
            return
        self._not_before.pop(domain, None)
        if record_id is None:
            record_id = "" if known is None else known.record_id
        self._known.pop(domain, None)
        self._known[domain] = FetchedPolicy(policy, record_id, self._clock.now())
        if len(self._known) > MAX_DOMAINS:
            del self._known[next(iter(self._known))]
        if known is None or known.policy != policy:
            self._sink(StsPolicyLearned(domain, policy.mode.value, policy.hosts))
        self._writes.later()

    def _failed(self, domain: str, reason: str) -> None:
        self._sink(StsNotFetched(domain, reason))
        self._not_before.pop(domain, None)
        self._not_before[domain] = self._clock.monotonic() + NOT_AGAIN_S
        if len(self._not_before) > _MAX_FAILED:
            del self._not_before[next(iter(self._not_before))]

    # --- the disk -----------------------------------------------------------------------------------------------------

    async def _write(self) -> None:
        await self._blocking.run(Lane.GENERAL, self._file.write, dict(self._known))

    async def stop(self) -> None:
        """Write what was not written yet."""
        self._is_stopped = True
        await self._writes.stop()
