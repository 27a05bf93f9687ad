"""One mail transaction as the client sees it, without network and clock (RFC 5321 3.3, 4.5.3; RFC 2920).

`Transaction` says what to write, takes one reply after the other, and ends with an outcome for each recipient it was
able to decide. The commands come in this order, in one write where PIPELINING was offered, else one by one:

    [RSET]  MAIL  RCPT...  DATA  content  .

    reply to     2yz              354                     4yz                  5yz
    MAIL         go on            fault                   all deferred         all bounced
    RCPT         go on            fault                   this one deferred    this one bounced
    DATA         fault            content, or a lone      the accepted         the accepted
                                  dot if no RCPT held     deferred             bounced
    .            all delivered    fault                   the accepted def.    the accepted bounced
    lone dot     go on            fault                   go on                go on

421 is the end of the connection wherever it comes (RFC 5321 3.8), and never final. A fault (a reply that cannot be
the answer) is temporary and ends the connection; what was refused before it in the same transaction may have been the
answer to something else, so it is temporary too.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from mailserver.mail.envelope import Envelope, Recipient
from mailserver.mail.outcome import Bounced, Deferred, Delivered, Outcome, Stage
from mailserver.mail.reply import Reply
from mailserver.wire import smtp_commands
from mailserver.wire.smtp_extensions import Extensions

LONE_DOT = b".\r\n"
MAY_BE_DUPLICATED = "; it may have been taken all the same, so the next attempt may repeat it"


@dataclass(frozen=True, slots=True)
class Terms:
    """What was agreed before the transaction. `host` and `tls` are the texts that outcomes carry."""

    extensions: Extensions
    host: str = ""
    tls: str = ""


@dataclass(frozen=True, slots=True)
class Say:
    """Write these octets, then read a reply."""

    octets: bytes


@dataclass(frozen=True, slots=True)
class Await:
    """Read another reply; everything is said."""


@dataclass(frozen=True, slots=True)
class GiveContent:
    """Write the content with its end, then read a reply."""


@dataclass(frozen=True, slots=True)
class Finished:
    """Every reply is in. `is_usable` False: the connection must not be used again."""

    is_usable: bool


Step = Say | Await | GiveContent | Finished


class _Verb(Enum):
    """What a reply is the answer to, and its stage for outcomes."""

    RSET = ("rset", Stage.MAIL)
    MAIL = ("mail", Stage.MAIL)
    RCPT = ("rcpt", Stage.RCPT)
    DATA = ("data", Stage.DATA)
    LONE_DOT = ("lone dot", Stage.DATA)
    EOD = ("eod", Stage.EOD)

    def __init__(self, word: str, stage: Stage) -> None:
        self.word = word
        self.stage = stage


_REFUSALS = {
    Stage.MAIL: "the host did not take the sender",
    Stage.RCPT: "the host did not take the recipient",
    Stage.DATA: "the host did not want to see the content",
    Stage.EOD: "the host did not take the content",
}


def refused(reply: Reply, stage: Stage, host: str) -> Deferred | Bounced:
    """The outcome of a reply that is not the hoped-for one; whatever is not plainly 5yz is temporary."""
    reason = _REFUSALS[stage]
    # RFC 5321 4.5.3.1.10: an old server says 552 to RCPT where 452 is meant, so it is temporary there.
    is_old_too_many = stage is Stage.RCPT and reply.code == 552
    if reply.is_permanent and not is_old_too_many:
        return Bounced(reason, stage, reply.enhanced or "5.0.0", reply, host)
    if not reply.is_temporary and not is_old_too_many:
        reason = f"the host gave an answer that does not fit ({stage.value})"
    return Deferred(reason, stage, reply, host)


@dataclass(slots=True)
class Transaction:
    """One transaction for some of an envelope's recipients.

    `start` gives the first octets; `take` must be called with each reply; `lost` ends it when the connection is gone.
    Then `outcomes` holds what was decided and `leftover` the recipients that the host had no room for in this
    transaction although it took others (RFC 5321 4.5.3.1.10): they belong into another one.
    """

    envelope: Envelope
    recipients: Sequence[Recipient]
    terms: Terms
    length: int
    smtputf8: bool = False
    must_reset: bool = False
    outcomes: dict[Recipient, Outcome] = field(default_factory=dict)
    leftover: list[Recipient] = field(default_factory=list)
    # Whether the host still holds state of this transaction, so that the next one has to begin with RSET.
    leaves_state: bool = False
    _accepted: list[Recipient] = field(default_factory=list)
    _expected: deque[tuple[_Verb, Recipient | None]] = field(default_factory=deque)
    _unsaid: deque[tuple[_Verb, Recipient | None]] = field(default_factory=deque)
    _is_mail_taken: bool = False

    @property
    def stage(self) -> Stage:
        """What the next reply is about."""
        return self._expected[0][0].stage if self._expected else Stage.MAIL

    @property
    def took_recipients(self) -> bool:
        """Whether the host took at least one recipient."""
        return bool(self._accepted)

    def start(self) -> bytes:
        """The octets to begin with: everything up to DATA if the host offered PIPELINING, else the first command."""
        if self.must_reset:
            self._unsaid.append((_Verb.RSET, None))
        self._unsaid.append((_Verb.MAIL, None))
        self._unsaid.extend((_Verb.RCPT, recipient) for recipient in self.recipients)
        self._unsaid.append((_Verb.DATA, None))
        if self.terms.extensions.pipelining:
            return b"".join(self._say_next() for _ in range(len(self._unsaid)))
        return self._say_next()

    def take(self, reply: Reply) -> Step:
        """One reply; the answer tells what to do next."""
        if reply.code == 421:
            self._decide_rest(Deferred("the host is closing the connection", self.stage, reply, self.terms.host))
            return Finished(is_usable=False)
        verb, recipient = self._expected.popleft()
        match verb:
            case _Verb.RSET:
                return self._take_reset(reply)
            case _Verb.MAIL:
                return self._take_mail(reply)
            case _Verb.RCPT:
                assert recipient is not None
                return self._take_rcpt(reply, recipient)
            case _Verb.DATA:
                return self._take_data(reply)
            case _Verb.LONE_DOT:
                return self._out_of_step() if 300 <= reply.code < 400 else Finished(is_usable=True)
            case _Verb.EOD:
                return self._take_end(reply)

    def lost(self, reason: str, stage: Stage | None = None, reply: Reply | None = None) -> None:
        """The connection is gone or makes no sense any more: whoever is undecided is deferred.

        After the final dot nobody can tell whether the host took the message; then at-least-once means to repeat it.
        """
        stage = stage or self.stage
        if stage is Stage.EOD:
            reason += MAY_BE_DUPLICATED
        self._decide_rest(Deferred(reason, stage, reply, self.terms.host))

    def _say_next(self) -> bytes:
        verb, recipient = self._unsaid.popleft()
        self._expected.append((verb, recipient))
        if verb is _Verb.RSET:
            return smtp_commands.RSET
        if verb is _Verb.MAIL:
            return smtp_commands.mail(self.envelope, self.terms.extensions, length=self.length, smtputf8=self.smtputf8)
        if recipient is not None:
            return smtp_commands.rcpt(recipient, self.terms.extensions, smtputf8=self.smtputf8)
        return smtp_commands.DATA

    def _go_on(self) -> Step:
        """After a reply that does not end the transaction."""
        if self._expected:
            return Await()
        if self._unsaid[0][0] is _Verb.DATA and not self._accepted:
            # Nobody left to write to; saying DATA would only invite confusion.
            self.leaves_state = True
            return Finished(is_usable=True)
        return Say(self._say_next())

    def _take_reset(self, reply: Reply) -> Step:
        if 200 <= reply.code < 300:
            return self._go_on()
        # What MAIL would be told now is about the old transaction, and must not bounce this one.
        reason = "the host did not forget the transaction before this one"
        self._decide_rest(Deferred(reason, Stage.MAIL, reply, self.terms.host))
        return Finished(is_usable=False)

    def _take_mail(self, reply: Reply) -> Step:
        if 200 <= reply.code < 300:
            self._is_mail_taken = True
            return self._go_on()
        self._decide_rest(refused(reply, Stage.MAIL, self.terms.host))
        if reply.is_positive:
            return self._out_of_step()
        # Pipelined: RCPT and DATA are on their way and have to be answered first.
        return Await() if self._expected else Finished(is_usable=True)

    def _take_rcpt(self, reply: Reply, recipient: Recipient) -> Step:
        if not self._is_mail_taken:
            return self._go_on()
        if 200 <= reply.code < 300:
            self._accepted.append(recipient)
            return self._go_on()
        if reply.is_positive:
            self._decide_rest(refused(reply, Stage.RCPT, self.terms.host))
            return self._out_of_step()
        if self._accepted and _means_too_many(reply):
            self.leftover.append(recipient)
        else:
            self.outcomes[recipient] = refused(reply, Stage.RCPT, self.terms.host)
        return self._go_on()

    def _take_data(self, reply: Reply) -> Step:
        if 300 <= reply.code < 400:
            if self._accepted:
                self._expected.append((_Verb.EOD, None))
                return GiveContent()
            if not self._is_mail_taken:
                # It refused the sender and wants content all the same: with a dot it might file an empty message.
                return Finished(is_usable=False)
            # RFC 2920 3.1: DATA was taken although no recipient was; end it with nothing.
            self._expected.append((_Verb.LONE_DOT, None))
            return Say(LONE_DOT)
        self._decide_accepted(refused(reply, Stage.DATA, self.terms.host))
        self.leaves_state = self._is_mail_taken
        # 2yz to DATA: this host is not talking about what we are talking about.
        return self._out_of_step() if reply.is_positive else Finished(is_usable=True)

    def _take_end(self, reply: Reply) -> Step:
        if 200 <= reply.code < 300:
            taken = Delivered(reply, self.terms.host, self.terms.extensions.dsn, self.terms.tls)
            self._decide_accepted(taken)
            return Finished(is_usable=True)
        self._decide_accepted(refused(reply, Stage.EOD, self.terms.host))
        return self._out_of_step() if reply.is_positive else Finished(is_usable=True)

    def _out_of_step(self) -> Step:
        """A reply was no answer to what was said, so nobody knows what the ones before it were about."""
        for recipient, outcome in self.outcomes.items():
            if isinstance(outcome, Bounced):
                reason = f"{outcome.reason}, and then gave answers that do not fit"
                self.outcomes[recipient] = Deferred(reason, outcome.stage, outcome.reply, outcome.host)
        return Finished(is_usable=False)

    def _decide_accepted(self, outcome: Outcome) -> None:
        for recipient in self._accepted:
            self.outcomes[recipient] = outcome

    def _decide_rest(self, outcome: Outcome) -> None:
        for recipient in self.recipients:
            self.outcomes.setdefault(recipient, outcome)
        self.leftover.clear()


def _means_too_many(reply: Reply) -> bool:
    """452, the older 552, or an enhanced code x.5.3 that says so; 452 with another enhanced code means something else.

    Without an enhanced code 452 may also mean a full disk. Then another transaction tells: it takes nobody.
    """
    if reply.enhanced:
        return reply.enhanced.endswith(".5.3")
    return reply.code in (452, 552)
