"""The client's side of an SMTP conversation: opening, one message after the other, QUIT.

Awaits the `Stream` and `Clock` doors, knows no socket. Whatever a peer does becomes an outcome.

Decisions:

- 8-bit content goes unchanged to a host without 8BITMIME. Deviation: RFC 6152 3 asks to convert or to bounce; content
  is never re-encoded here, and hosts that really cannot take 8-bit content have not been seen for decades.
- DATA, never BDAT (RFC 3030): the content is known to be free of bare CR and LF, so DATA can carry all of it, and some
  hosts offer CHUNKING and do it wrong.
- SMTPUTF8 is asked for when the envelope needs it. A host without it gets the message plainly when addresses and
  header are ASCII, else it bounces with 5.6.7 (RFC 6531 3.5, 4.2).
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from mailserver.mail.envelope import Envelope, Recipient
from mailserver.mail.headers import header_end
from mailserver.mail.outcome import Bounced, Deferred, Outcome, Stage
from mailserver.mail.transcript import Transcript
from mailserver.ports import Clock, ContentSource, NextHop, NotOpened, Opened, Stream
from mailserver.session.client_channel import CONTENT, ClientChannel, Gone, Timeouts
from mailserver.session.recipient_groups import next_group
from mailserver.session.smtp_opening import Opening
from mailserver.wire import smtp_commands
from mailserver.wire.dot_stuffing import BareNewline, DotStuffer
from mailserver.wire.smtp_client import Await, Finished, GiveContent, Say, Terms, Transaction


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """Recipients in one transaction (RFC 5321 4.5.3.1.8 grants 100), messages on one connection."""

    max_recipients: int = 100
    max_messages: int = 100


class _ContentTrouble(Exception):
    """Our own file cannot be read or must not be sent; not the peer's fault."""


class SmtpClientSession:
    """`mailserver.ports.Conversation` over one stream. Use: `open`, then `send` as often as `can_send`, then `quit`."""

    def __init__(
        self,
        stream: Stream,
        next_hop: NextHop,
        *,
        clock: Clock,
        timeouts: Timeouts | None = None,
        limits: ClientLimits | None = None,
    ) -> None:
        self._channel = ClientChannel(stream, clock, timeouts or Timeouts())
        self._opening = Opening(self._channel, next_hop)
        self._host = next_hop.host
        self._limits = limits or ClientLimits()
        self._is_open = False
        self._must_reset = False
        self._transactions = 0

    async def open(self) -> Opened | NotOpened:
        """Greeting to AUTH. After `NotOpened` the connection is closed."""
        result = await self._opening.run()
        if isinstance(result, NotOpened):
            await self.quit()
        else:
            self._is_open = True
        return result

    def transcribe(self, transcript: Transcript | None) -> None:
        """See `ports.Conversation`."""
        self._channel.transcript = transcript

    # --- messages -----------------------------------------------------------------------------------------------------

    @property
    def can_send(self) -> bool:
        """Whether another transaction may follow: the connection stands and no limit is reached (RFC 9422 MAILMAX)."""
        told = self._opening.extensions.max_messages or self._limits.max_messages
        return self._is_open and self._transactions < min(self._limits.max_messages, told)

    async def send(self, envelope: Envelope, content: ContentSource) -> dict[Recipient, Outcome]:
        """One message in as many transactions as the host's limits ask for."""
        outcomes: dict[Recipient, Outcome] = {}
        try:
            # Read before MAIL, so that an unreadable file costs the peer nothing.
            first = await _next_piece(content.pieces()) if content.length else b""
        except _ContentTrouble as trouble:
            return _all(envelope.recipients, Deferred(str(trouble), Stage.LOCAL))
        pending = self._refuse_unfit(envelope, content.length, first, outcomes)
        while pending:
            if not self.can_send:
                reason = "the host takes no further message on this connection"
                outcomes.update(_all(pending, Deferred(reason, Stage.MAIL, host=self._host)))
                break
            transaction = self._transaction(envelope, pending, content.length)
            await self._run(transaction, content, first)
            outcomes.update(transaction.outcomes)
            pending = [recipient for recipient in pending if recipient not in transaction.outcomes]
        return outcomes

    def _transaction(self, envelope: Envelope, pending: Sequence[Recipient], length: int) -> Transaction:
        extensions, tls = self._opening.extensions, self._opening.tls
        most = min(self._limits.max_recipients, extensions.max_recipients or self._limits.max_recipients)
        group = next_group(pending, most, extensions.max_domains)
        return Transaction(
            envelope,
            group,
            Terms(extensions, self._host, tls.version if tls else ""),
            length,
            smtputf8=extensions.smtputf8 and (envelope.smtputf8 or not _is_ascii(envelope, group)),
            must_reset=self._must_reset,
        )

    def _refuse_unfit(
        self, envelope: Envelope, length: int, first: bytes, outcomes: dict[Recipient, Outcome]
    ) -> list[Recipient]:
        """Decide what this host is known not to take; the recipients that remain to be tried."""
        limit, host = self._opening.extensions.size_limit, self._host
        if limit is not None and length > limit:
            # RFC 1870 6.1 lets the client decide by the declared limit without asking.
            reason = f"the message is too large for the host: {_megabytes(length)}, and it takes {_megabytes(limit)}"
            outcomes.update(_all(envelope.recipients, Bounced(reason, Stage.EHLO, "5.3.4", host=host)))
            return []
        if envelope.require_tls and not self._opening.extensions.requiretls:
            # RFC 8689 4.2.1; that the host has proven who it is was seen to before.
            reason = "the message asks for REQUIRETLS, which the host does not offer"
            outcomes.update(_all(envelope.recipients, Bounced(reason, Stage.EHLO, "5.7.30", host=host)))
            return []
        if self._opening.extensions.smtputf8:
            return list(envelope.recipients)
        unfit = Bounced("the host does not know SMTPUTF8, which this message needs", Stage.EHLO, "5.6.7", host=host)
        # A header beyond ASCII counts only if the sender declared it (RFC 6531 3.5): old programs send such headers
        # undeclared, and those pass as they are, like other 8-bit content.
        header = first[: header_end(first)] if envelope.smtputf8 and not first.isascii() else b""
        if not _is_ascii(envelope, ()) or not header.isascii():
            outcomes.update(_all(envelope.recipients, unfit))
            return []
        outcomes.update({to: unfit for to in envelope.recipients if not to.mailbox.is_ascii})
        return [to for to in envelope.recipients if to.mailbox.is_ascii]

    async def _run(self, transaction: Transaction, content: ContentSource, first: bytes) -> None:
        """One transaction to its end; whatever happens, its recipients have outcomes or are left over afterwards."""
        self._transactions += 1
        timeouts, channel = self._channel.timeouts, self._channel
        # None where the stage is what the next reply is about. While the content goes out the final dot is not said,
        # so a break there is no doubt about whether the message was taken.
        broke_at: Stage | None = None
        may_have_last_words = False
        try:
            channel.expect_silence()
            await channel.write(transaction.start(), timeouts.mail_s, "MAIL")
            while True:
                what = "the end of the content" if transaction.stage is Stage.EOD else transaction.stage.name
                step = transaction.take(await channel.read_reply(timeouts.for_reply(transaction.stage), what))
                match step:
                    case Await():
                        pass
                    case Say(octets):
                        channel.expect_silence()
                        await channel.write(octets, timeouts.mail_s, "a command")
                    case GiveContent():
                        broke_at = Stage.DATA
                        channel.expect_silence()
                        may_have_last_words = True
                        last_block = await self._write_content(content, first)
                        # From here on the host may have taken it, whatever becomes of the connection.
                        broke_at = None
                        await channel.write(last_block, timeouts.block_s, CONTENT)
                        may_have_last_words = False
                    case Finished(is_usable):
                        self._must_reset = transaction.leaves_state
                        if not is_usable:
                            self._is_open = False
                            channel.close()
                        return
        except _ContentTrouble as trouble:
            transaction.lost(str(trouble), Stage.LOCAL)
        except Gone as gone:
            # A host that closes in the middle of the content often says why before it does: that is its answer.
            reply = await channel.last_words() if may_have_last_words else None
            if reply is not None and not reply.is_positive:
                transaction.take(reply)
            else:
                transaction.lost(str(gone), broke_at)
        self.abort()

    async def _write_content(self, content: ContentSource, first: bytes) -> bytes:
        """Write the content but for its last block; gives that back, with the end of data behind it."""
        block_s = self._channel.timeouts.block_s
        stuffer = DotStuffer()
        left = content.length - len(first)
        pieces = content.pieces()
        try:
            waiting = stuffer.feed(first)
            if left > 0:
                await _next_piece(pieces)
            while left > 0:
                await self._channel.write(waiting, block_s, CONTENT)
                piece = await _next_piece(pieces)
                left -= len(piece)
                waiting = stuffer.feed(piece)
            ending = stuffer.finish()
        except BareNewline:
            raise _ContentTrouble("the queue file holds a bare CR or LF and cannot be sent") from None
        if left < 0:
            raise _ContentTrouble("the queue file is longer than it should be")
        return waiting + ending

    # --- the end ------------------------------------------------------------------------------------------------------

    async def quit(self) -> None:
        """QUIT and close, without waiting for the 221: its coming or not changes nothing."""
        self._is_open = False
        try:
            await self._channel.write(smtp_commands.QUIT, self._channel.timeouts.quit_s, "QUIT")
        except Gone:
            self._channel.drop()
        else:
            self._channel.close()

    def abort(self) -> None:
        """Drop the connection; what waits answers soon after."""
        self._is_open = False
        self._channel.drop()


def _all(recipients: Sequence[Recipient], outcome: Outcome) -> dict[Recipient, Outcome]:
    return dict.fromkeys(recipients, outcome)


def _megabytes(octets: int) -> str:
    """For people, who think in these."""
    return f"{octets / 1_000_000:.1f} MB" if octets >= 100_000 else f"{octets} octets"


def _is_ascii(envelope: Envelope, recipients: Sequence[Recipient]) -> bool:
    """Whether reverse-path and these recipients can be said without SMTPUTF8."""
    path = envelope.reverse_path
    return (path is None or path.is_ascii) and all(recipient.mailbox.is_ascii for recipient in recipients)


async def _next_piece(pieces: AsyncIterator[bytes]) -> bytes:
    try:
        return await anext(pieces)
    except StopAsyncIteration:
        raise _ContentTrouble("the queue file is shorter than it should be") from None
    except OSError as error:
        raise _ContentTrouble(f"the queue file could not be read: {error.strerror}") from error
