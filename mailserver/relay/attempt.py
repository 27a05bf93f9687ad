"""One delivery attempt: a route and a message in, one outcome for each recipient out.

Which hosts are tried, and when the next one:

- The hosts of the plan come in order. The next one is tried after trouble with a host as such: no connection, no
  greeting, EHLO refused, 421, a connection that broke before the final dot, MAIL refused with 4yz.
- A 5yz to a command of the transaction is final: no shopping around. A 4yz to RCPT, DATA or the content is that
  recipient's or that message's own matter (greylisting): the other hosts of a domain say the same, so it waits.
- After the final dot nobody else is asked: the message may have been taken.
- A TLS handshake that does not succeed is repeated in clear on a new connection, where TLS is only opportunistic. What
  the host refuses then because of the missing TLS (530) is not final either.
- A host that refuses our IPv6 address for want of a reverse name is asked again over IPv4, if it can be.
- A host that cannot do what the domain or the message requires of its TLS (`protection`) gets nothing, and the next
  one is tried; mail never bounces for that, except that no host of a destination knows REQUIRETLS.
- A smarthost that asks for another login (530 and its like) tells of the operator's mistake, which bounces nothing.

An attempt ends in bounded time: no host is begun after `attempt_s`, and the one that is being talked to is dropped at
`hard_s`. Nothing here bounces for a reason that is not named.
"""

import random
from dataclasses import dataclass, field, replace

from mailserver.mail.envelope import Envelope, Recipient
from mailserver.mail.outcome import Bounced, Deferred, Delivered, Outcome, Stage
from mailserver.mail.reply import Reply
from mailserver.mail.route import AddressFamily, MxRoute, Route, SmarthostRoute
from mailserver.mail.transcript import Transcript
from mailserver.maillog import Ipv4First, LookedUp, SentInClear, Sink, Talked, TlsMissing, TlsTrial, Tried, nowhere
from mailserver.policy import transport
from mailserver.policy.outward_tls import after_conversation
from mailserver.policy.transport import Requirement, Wish
from mailserver.ports import (
    Blocking,
    Clock,
    ConnectionFailed,
    ContentSource,
    Conversation,
    ConversationFactory,
    Dialer,
    HistoryStore,
    NextHop,
    NotOpened,
    Opened,
    Resolver,
    StoredContent,
    TlsUse,
)
from mailserver.relay.access import Access, not_final_elsewhere, not_final_without_login, not_final_without_tls
from mailserver.relay.connections import IdleConversations
from mailserver.relay.content import FileContent
from mailserver.relay.families import Families, Sight, after, is_about_our_name
from mailserver.relay.mx import MxPlan, MxRules, Target
from mailserver.relay.planning import find_plan
from mailserver.relay.protection import (
    Protection,
    ProtectionDoors,
    because,
    host_name,
    requirements,
    says_tls_is_optional,
    wish_of,
)
from mailserver.relay.tls_results import TellTls, session_of
from mailserver.store.spool_state import bounded_reply

# Of the addresses that were found so many are told; honest domains have fewer.
_MOST_TOLD = 20


@dataclass(frozen=True, slots=True)
class AttemptLimits:
    """Seconds, but for `max_idle`: connections that are kept for the next message."""

    connect_s: float = 30.0
    attempt_s: float = 1800.0
    hard_s: float = 3600.0
    keep_s: float = 3.0
    max_idle: int = 50


@dataclass(frozen=True, slots=True)
class Outward:
    """How we go out: `helo` our name, `port` where MX hosts listen, `rules` which hosts and addresses are tried."""

    helo: str
    port: int = 25
    rules: MxRules = field(default_factory=MxRules)
    limits: AttemptLimits = field(default_factory=AttemptLimits)


class MxTransmitter:
    """`mailserver.ports.Transmitter` over the network doors."""

    def __init__(
        self,
        outward: Outward,
        *,
        resolver: Resolver,
        dialer: Dialer,
        converse: ConversationFactory,
        blocking: Blocking,
        clock: Clock,
        rng: random.Random,
        sink: Sink = nowhere,
        history: HistoryStore | None = None,
        protection: ProtectionDoors | None = None,
        tell_tls: TellTls | None = None,
    ) -> None:
        """`tell_tls` is told of every session to a domain's mail hosts, for reports to the domain."""
        self.outward = outward
        self.protection = protection or ProtectionDoors(history=history)
        self.dialer = dialer
        self.converse = converse
        self.clock = clock
        self.sink = sink
        self.tell_tls = tell_tls
        self._blocking = blocking
        self._resolver = resolver
        self._rng = rng
        self.access = Access(sink)
        self._families = Families()
        self._history = history
        self.idle = IdleConversations(clock, keep_s=outward.limits.keep_s, max_idle=outward.limits.max_idle)

    def ipv4_first(self) -> tuple[str, float] | None:
        """Why IPv6 comes behind IPv4 now (`auto`), and for how many seconds more; None when it does not."""
        now = self.clock.monotonic()
        families = self._families
        return (families.reason, families.ipv4_first_until - now) if families.prefers_ipv4(now) else None

    async def send(
        self,
        route: Route,
        envelope: Envelope,
        content: StoredContent,
        queue_id: str = "",
        transcript: Transcript | None = None,
    ) -> dict[Recipient, Outcome]:
        """One attempt; exactly one outcome for each of the envelope's recipients."""
        if not envelope.recipients:
            return {}
        return await _Attempt(self, route, envelope, FileContent(content, self._blocking), queue_id, transcript).run()

    def close(self) -> None:
        """End the connections that wait for more; attempts under way go on."""
        self.idle.close()

    async def plan(self, route: Route) -> MxPlan:
        """Whom to dial, in order; asks DNS. Also for `mailserver route`."""
        rules = replace(self.outward.rules, is_ipv4_first=self._families.prefers_ipv4(self.clock.monotonic()))
        return await find_plan(route, rules, self._resolver, self.protection.signed, self._rng)

    async def requirements(self, domain: str) -> tuple[tuple[str, Requirement], ...]:
        """Each host of a domain with what it is held to now; asks DNS and policy hosts. For `mailserver route`."""
        route = MxRoute(domain)
        return await requirements(self.protection, route, await self.plan(route))

    def saw(self, sight: Sight, target: Target) -> None:
        """What an attempt showed of an address family; a new belief is told once."""
        if self.outward.rules.family is not AddressFamily.AUTO:
            return
        now = self.clock.monotonic()
        was_first = self._families.prefers_ipv4(now)
        self._families = after(self._families, sight, target.host, now)
        if self._families.prefers_ipv4(now) and not was_first:
            self.sink(Ipv4First(self._families.reason, self._families.ipv4_first_until - now))

    def missing_tls(self, host: str, version: str) -> str:
        """The TLS that this host had before and has no more; tells it once a day. Remembers what it has now."""
        if self._history is None:
            return ""
        seen = after_conversation(self._history.tls(host), version, self.clock.now())
        if seen.remember is not None:
            self._history.remember_tls(host, seen.remember)
        if seen.is_told:
            self.sink(TlsMissing(host, seen.missing))
        return seen.missing


class _Attempt:
    """The state of one attempt: who is still pending, and what is known about them so far."""

    def __init__(
        self,
        transmitter: MxTransmitter,
        route: Route,
        envelope: Envelope,
        content: ContentSource,
        queue_id: str,
        transcript: Transcript | None,
    ) -> None:
        self._transcript = transcript
        self._transmitter = transmitter
        self._queue_id = queue_id
        self._route = route
        self._envelope = envelope
        self._content = content
        self._pending = list(dict.fromkeys(envelope.recipients))
        self._outcomes: dict[Recipient, Outcome] = {}
        self._current: Conversation | None = None
        self._begins_until = 0.0
        self._has_ipv4_left = False
        self._has_hosts_left = False
        self._missing_tls = ""
        self._wish = wish_of(envelope)
        self._protection: Protection | None = None

    async def run(self) -> dict[Recipient, Outcome]:
        limits, clock = self._transmitter.outward.limits, self._transmitter.clock
        self._begins_until = clock.monotonic() + limits.attempt_s
        timer = clock.call_later(limits.hard_s, self._drop)
        try:
            await self._use_waiting_conversation()
            if self._pending:
                await self._try_hosts()
        finally:
            timer.cancel()
            # Only an attempt that was cancelled still has one.
            self._drop()
        for recipient in self._pending:
            self._outcomes.setdefault(recipient, Deferred("no time was left in this attempt", Stage.CONNECT))
        return self._outcomes

    @property
    def _is_over(self) -> bool:
        """Whether no other host is begun."""
        return self._transmitter.clock.monotonic() >= self._begins_until

    def _drop(self) -> None:
        if self._current is not None:
            self._current.abort()

    async def _use_waiting_conversation(self) -> None:
        """A connection that was kept may have died in the meantime; then this was no attempt at all.

        A message with a wish of its own neither takes one nor leaves one: others proved less, or more.
        """
        kept = self._transmitter.idle.take(self._route) if self._wish is Wish.USUAL else None
        if kept is not None:
            conversation, is_tls_missing = kept
            if self._transcript is not None:
                self._transcript.happened("on a connection that was kept from the message before")
            await self._send_over(conversation, is_tls_missing=is_tls_missing)
            for recipient in self._pending:
                self._outcomes.pop(recipient, None)

    async def _try_hosts(self) -> None:
        plan = await self._transmitter.plan(self._route)
        self._tell_plan(plan)
        if plan.verdict is not None:
            self._outcomes.update(dict.fromkeys(self._pending, plan.verdict))
            self._pending = []
            return
        self._protection = protection = Protection(self._transmitter.protection, self._route, plan)
        for number, target in enumerate(plan.targets):
            self._has_ipv4_left = any(_version(other) == 4 for other in plan.targets[number + 1 :])
            self._has_hosts_left = any(other.host != target.host for other in plan.targets[number + 1 :])
            taken = -1
            # A host that took some recipients and then wanted a new connection (RFC 9422 MAILMAX) is asked again.
            while self._pending and self._taken() > taken and not self._is_over:
                taken = self._taken()
                required = await self._required(protection, target)
                if required.protection is transport.Protection.REFUSE:
                    await self._tell_tls(target, required, required.use, None)
                    self._refuse(target, required)
                else:
                    await self._try(target, self._next_hop(target, required), required)

    def _taken(self) -> int:
        return sum(isinstance(outcome, Delivered) for outcome in self._outcomes.values())

    async def _required(self, protection: Protection, target: Target) -> Requirement:
        """How this host must be protected, for a message that says what it says."""
        required = await protection.of(target.host, host_name(target.host), self._wish)
        is_asked = required.is_more_than_usual and self._wish is Wish.USUAL and isinstance(self._route, MxRoute)
        if is_asked and await says_tls_is_optional(self._content):
            self._wish = Wish.TLS_IS_OPTIONAL
            return await protection.of(target.host, host_name(target.host), self._wish)
        return required

    def _refuse(self, target: Target, required: Requirement) -> None:
        """Nothing is sent to this host now."""
        if self._transcript is not None:
            self._transcript.failed(required.trouble)
        self._transmitter.sink(Tried(self._queue_id, str(target), Stage.STARTTLS.value, required.trouble, ""))
        refusal = Deferred(required.trouble, Stage.STARTTLS, host=str(target))
        self._note(dict.fromkeys(self._pending, refusal))

    async def _try(self, target: Target, hop: NextHop, required: Requirement) -> None:
        transmitter = self._transmitter
        port = transmitter.outward.port if isinstance(self._route, MxRoute) else self._route.port
        if self._transcript is not None:
            self._transcript.happened(f"connecting to {hop.host}, port {port}")
        try:
            stream = await transmitter.dialer.dial(
                target.address or target.host, port, timeout_s=transmitter.outward.limits.connect_s
            )
        except ConnectionFailed as failed:
            if self._transcript is not None:
                self._transcript.failed(str(failed))
            if _version(target) == 6 and "refused" not in str(failed):
                transmitter.saw(Sight.IPV6_NOWHERE, target)
            self._tell_tried(hop, Stage.CONNECT, str(failed))
            self._note(dict.fromkeys(self._pending, Deferred(str(failed), Stage.CONNECT, host=hop.host)))
            return
        if target.address is not None:
            transmitter.saw(Sight.IPV6_WORKS if _version(target) == 6 else Sight.IPV4_WORKS, target)
        conversation = transmitter.converse(stream, hop)
        self._transcribe(conversation, self._transcript)
        self._current = conversation
        opened = await conversation.open()
        await self._tell_tls(target, required, hop.tls, opened)
        transmitter.access.opened(self._route, opened)
        if not isinstance(opened, NotOpened):
            if opened.is_tls_refused:
                transmitter.sink(SentInClear(hop.host, "the host offers STARTTLS and did not do it"))
            tls = "" if opened.tls is None else opened.tls.version
            missing = "" if isinstance(self._route, SmarthostRoute) else transmitter.missing_tls(target.host, tls)
            if required.trouble or hop.requirement.is_trial:
                unproven = "the host did no TLS" if opened.tls is None else opened.tls.unproven
                if required.trouble or unproven:
                    transmitter.sink(TlsTrial(target.host, required.trouble or unproven))
            self._missing_tls = f"without TLS, although the host had {missing} before" if missing else ""
            transmitter.sink(Talked(self._queue_id, hop.host, tls or self._missing_tls))
            is_tls_missing = opened.is_tls_refused or (opened.tls is None and hop.tls is TlsUse.NEVER)
            await self._send_over(conversation, target, is_tls_missing=is_tls_missing)
            return
        self._current = None
        reason = because(required, opened.reason) if opened.stage is Stage.STARTTLS else opened.reason
        if opened.stage is Stage.STARTTLS and required.is_more_than_usual and isinstance(self._route, MxRoute):
            # Otherwise a host that gave TLS up would be insisted on for ever.
            transmitter.missing_tls(target.host, "")
        self._tell_tried(hop, opened.stage, reason, opened.reply)
        outcome = Deferred(reason, opened.stage, opened.reply, hop.host)
        if _version(target) == 6 and is_about_our_name(outcome):
            transmitter.saw(Sight.IPV6_NAMELESS, target)
        self._note(dict.fromkeys(self._pending, outcome))
        if opened.may_try_in_clear and hop.tls is TlsUse.OPPORTUNISTIC and not self._is_over:
            transmitter.sink(SentInClear(hop.host, opened.reason))
            await self._try(target, replace(hop, tls=TlsUse.NEVER), required)

    async def _tell_tls(
        self, target: Target, required: Requirement, use: TlsUse, opened: Opened | NotOpened | None
    ) -> None:
        """For TLSRPT; a message with a wish of its own is no measure, and a report is none (RFC 8460 3)."""
        tell = self._transmitter.tell_tls
        if tell is None or self._protection is None or self._wish is not Wish.USUAL:
            return
        found = session_of(self._route, target, required, *self._protection.found(target.host), use, opened)
        if found is not None and not await says_tls_is_optional(self._content):
            tell(found)

    async def _send_over(
        self, conversation: Conversation, target: Target | None = None, *, is_tls_missing: bool = False
    ) -> None:
        self._current = conversation
        self._transcribe(conversation, self._transcript)
        outcomes = await conversation.send(self._envelope.with_recipients(self._pending), self._content)
        self._transcribe(conversation, None)
        self._current = None
        if isinstance(self._route, SmarthostRoute):
            outcomes = {to: not_final_without_login(outcome) for to, outcome in outcomes.items()}
            self._transmitter.access.sent(self._route, outcomes.values())
        elif self._missing_tls:
            outcomes = {to: _told_in(outcome, self._missing_tls) for to, outcome in outcomes.items()}
        if is_tls_missing and not isinstance(self._route, SmarthostRoute):
            outcomes = {to: not_final_without_tls(outcome) for to, outcome in outcomes.items()}
        if self._has_hosts_left:
            outcomes = {to: not_final_elsewhere(outcome) for to, outcome in outcomes.items()}
        if target is not None and _version(target) == 6 and any(map(is_about_our_name, outcomes.values())):
            self._transmitter.saw(Sight.IPV6_NAMELESS, target)
            self._transmitter.idle.end(conversation)
            if self._has_ipv4_left:
                outcomes = {to: _not_final_over_ipv6(outcome) for to, outcome in outcomes.items()}
            self._note(outcomes)
            return
        self._note(outcomes)
        if self._wish is Wish.USUAL:
            self._transmitter.idle.give(self._route, conversation, is_tls_missing=is_tls_missing)
        else:
            self._transmitter.idle.end(conversation)

    def _transcribe(self, conversation: Conversation, transcript: Transcript | None) -> None:
        if self._transcript is not None:
            conversation.transcribe(transcript)

    def _tell_plan(self, plan: MxPlan) -> None:
        """For the journal: what DNS said at this moment."""
        if self._transcript is not None:
            hosts_text = ", ".join(map(str, plan.targets)) or "none"
            self._transcript.happened(f"{self._route}: hosts in the order in which they are tried: {hosts_text}")
            if plan.verdict is not None:
                self._transcript.failed(plan.verdict.reason)
        hosts = tuple(str(target) for target in plan.targets[:_MOST_TOLD])
        reason = "" if plan.verdict is None else plan.verdict.reason
        self._transmitter.sink(LookedUp(self._queue_id, str(self._route), hosts, reason))

    def _tell_tried(self, hop: NextHop, stage: Stage, reason: str, reply: Reply | None = None) -> None:
        words = "" if reply is None else str(bounded_reply(reply))
        self._transmitter.sink(Tried(self._queue_id, hop.host, stage.value, reason, words))

    def _note(self, outcomes: dict[Recipient, Outcome]) -> None:
        """Remember; whom another host may still take stays pending. The words of a host outlast a mere silence."""
        for recipient, outcome in outcomes.items():
            known = self._outcomes.get(recipient)
            says_less = isinstance(outcome, Deferred) and outcome.reply is None
            if not (says_less and isinstance(known, Deferred) and known.reply is not None):
                self._outcomes[recipient] = outcome
            if not _may_try_elsewhere(outcome):
                self._outcomes[recipient] = outcome
                self._pending.remove(recipient)

    def _next_hop(self, target: Target, required: Requirement) -> NextHop:
        route, helo = self._route, self._transmitter.outward.helo
        if isinstance(route, SmarthostRoute):
            is_here = target.address.is_loopback if target.address else target.host == "localhost"
            return NextHop(str(target), helo, required.use, required.handshake, route.login, is_here)
        return NextHop(str(target), helo, required.use, required.handshake)


def _version(target: Target) -> int:
    """4 or 6; 0 for a name that the system looks up."""
    return 0 if target.address is None else target.address.version


def _told_in(outcome: Outcome, missing_tls: str) -> Outcome:
    """The outcome with the words about its protection."""
    return replace(outcome, tls=missing_tls) if isinstance(outcome, Delivered) and not outcome.tls else outcome


def _not_final_over_ipv6(outcome: Outcome) -> Outcome:
    """A refusal for our missing reverse name, where IPv4 is still to be tried: it is about us, before any message."""
    if isinstance(outcome, Bounced | Deferred) and is_about_our_name(outcome):
        return Deferred("the host wants a reverse name for our IPv6 address", Stage.EHLO, outcome.reply, outcome.host)
    return outcome


def _may_try_elsewhere(outcome: Outcome) -> bool:
    """Whether the trouble is the host's own (see the module's table)."""
    if not isinstance(outcome, Deferred) or outcome.stage in (Stage.EOD, Stage.LOCAL):
        return False
    if outcome.stage in (Stage.RCPT, Stage.DATA):
        return outcome.reply is None or outcome.reply.code == 421
    return True
