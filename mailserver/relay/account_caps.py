"""The caps of accounts at work: asked once for each new message in the queue, kept over restarts. Async over doors.

What is over the cap is held, as by an operator; whoever releases it sends it, and that counts for nothing. The owner
and the postmaster are told, once a day for each account.
"""

from collections.abc import Awaitable, Callable

from twisted.internet.defer import Deferred

from mailserver.config import Caps
from mailserver.mail.address import Mailbox, parse_mailbox
from mailserver.mail.envelope import Envelope
from mailserver.mail.trace import login_of
from mailserver.maillog import Sink
from mailserver.policy.caps import Amount, Limits, Usage, why_over
from mailserver.ports import Blocking, Clock, FindDestination, Lane, LocalMailboxes
from mailserver.relay.gathered_writes import GatheredWrites
from mailserver.store.caps_usage import CapsFile

BY_CAP = "cap"
# Changes are gathered for so long before they are written: a crash gives an account as much for free.
_GATHER_S = 60.0
_TELL_EACH_S = 86400.0

# Subject, text, and to whom beside the postmaster; whether it is on disk.
Tell = Callable[[str, str, Mailbox], Awaitable[bool]]


class AccountCaps:
    """Construct, `load` under the state lock (blocking), then ask; `stop` writes what is left."""

    def __init__(
        self,
        caps: Caps,
        file: CapsFile,
        find_destination: FindDestination,
        tell: Tell,
        *,
        blocking: Blocking,
        clock: Clock,
        sink: Sink,
    ) -> None:
        self._caps = caps
        self._file = file
        self._find_destination = find_destination
        self._tell = tell
        self._blocking = blocking
        self._clock = clock
        self._sink = sink
        self._usage: dict[str, Usage] = {}
        self._writes = GatheredWrites(file.path, self._write, _GATHER_S, "tried again every minute", clock, sink)

    def load(self) -> None:
        """Read the file (blocking). What cannot be read is told, and every account begins anew."""
        effect = "what accounts send is counted within this run only"
        found = self._writes.read(self._file, "accounts begin anew", effect) or {}
        for address, (told_at, hours, digests) in found.items():
            amounts = {hour: Amount(*amount) for hour, amount in hours.items()}
            self._usage[address] = Usage(amounts, dict.fromkeys(digests), told_at)

    def judge(self, envelope: Envelope, source: str) -> str:
        """Why this new message has to wait, in words; empty: it may go, and is counted."""
        login = login_of(source)
        if not login:
            return ""
        mailbox = parse_mailbox(login)
        if not isinstance(mailbox, Mailbox):
            return ""
        caps = self._caps.of(mailbox.folded)
        limits = Limits(caps.messages, caps.recipients, caps.new_recipients)
        if limits == Limits():
            return ""
        find = self._find_destination
        outside = [one.mailbox for one in envelope.recipients if not isinstance(find(one.mailbox), LocalMailboxes)]
        if not outside:
            return ""
        now = self._clock.now()
        usage = self._usage.setdefault(mailbox.folded, Usage())
        more, digests = usage.asks_for(outside)
        reason = why_over(limits, usage.of_a_day(now), more)
        if not reason:
            usage.note(more, digests, now)
            self._writes.later()
        elif now - usage.told_at >= _TELL_EACH_S or now < usage.told_at:
            usage.told_at = now
            self._writes.later()
            Deferred.fromCoroutine(self._tell_of(mailbox, usage, reason))
        return reason

    async def _tell_of(self, mailbox: Mailbox, usage: Usage, reason: str) -> None:
        subject = f"Mail from {mailbox} to other servers is held"
        if not await self._tell(subject, _TEXT.format(address=mailbox, reason=reason), mailbox):
            usage.told_at = 0.0

    async def _write(self) -> None:
        accounts = {
            address: (
                usage.told_at,
                {hour: (one.messages, one.recipients, one.new_recipients) for hour, one in usage.hours.items()},
                tuple(usage.known),
            )
            for address, usage in self._usage.items()
        }
        await self._blocking.run(Lane.GENERAL, self._file.write, accounts)

    async def stop(self) -> None:
        """Write what was not written yet."""
        await self._writes.stop()


_TEXT = """\
{address} has sent {reason}.
What it sends to other servers is not sent on for now. It is held on our
server, and nothing is lost. Mail to addresses on our own server goes on.

If you are the owner and sent this much yourself, ask the person who looks
after the mail server to release it.

If you did not, somebody else knows your password. Change it now, and tell
that person: what is held may then be thrown away.

For the person who looks after the server:

  mailserver queue list --state held --login {address}
      shows what is held; mailserver why {address} what went before
  mailserver queue release --login {address}
      sends it after all
  mailserver queue remove --login {address}
      throws away all that waits from this account
  mailserver account passwd {address}
      sets another password

The caps are in the table [caps] of the configuration. An account that sends
a newsletter gets its own: [caps.accounts."{address}"].

This is told once a day for each account.
"""
