"""The suppression list at work: filled by refusals, asked before each attempt, kept on disk. Async over doors."""

from datetime import UTC, datetime

from twisted.internet.defer import Deferred, DeferredLock

from mailserver.mail.address import Mailbox
from mailserver.mail.outcome import Bounced, Delivered, Outcome, Stage
from mailserver.mail.reply import printable
from mailserver.maillog import Sink, Suppressed, Trouble, Unsuppressed
from mailserver.ports import Blocking, Cancellable, Clock, Lane, Overloaded, StorageTrouble
from mailserver.relay.gathered_writes import read_or_set_aside
from mailserver.store.files import storage_error
from mailserver.store.queue_orders import GIVEN_UP_STATUS
from mailserver.store.spool_json import NewerFormat
from mailserver.store.suppression import BY_REFUSALS, Listed, SuppressionFile, SuppressionList

# What says that there is no such mailbox, or that it is closed (RFC 3463 3.2, 3.3; RFC 7505 has 5.1.10).
_NO_MAILBOX = frozenset(("5.1.1", "5.1.2", "5.1.6", "5.1.10", "5.2.1"))
# Counts are gathered for so long before they are written.
_GATHER_S = 1.0
_RETRY_S = 60.0
_MAX_WORDS = 200


class Suppressor:
    """Construct, `load` under the state lock (blocking), then ask; `stop` writes what is left."""

    def __init__(
        self, file: SuppressionFile, suppression: SuppressionList, blocking: Blocking, clock: Clock, sink: Sink
    ) -> None:
        self._file = file
        self._list = suppression
        self._blocking = blocking
        self._clock = clock
        self._sink = sink
        self._timer: Cancellable | None = None
        self._turn = DeferredLock()
        self._is_told = False
        self.trouble = ""

    def load(self) -> None:
        """Read the file (blocking). What cannot be read is told, and mail goes on without the list."""
        try:
            read_or_set_aside(self._file, lambda: self._file.read(self._list), "the list begins empty", self._sink)
        except (NewerFormat, OSError) as trouble:
            self.trouble = f"{self._file.path} cannot be used: {trouble}"
            self._sink(Trouble("", str(self._file.path), str(trouble), "no recipient is suppressed until a restart"))

    # --- attempts -----------------------------------------------------------------------------------------------------

    def verdict(self, mailbox: Mailbox) -> Bounced | None:
        """What becomes of a recipient that is on the list, without an attempt; None when it is not."""
        found = self._list.entry(mailbox, self._clock.now())
        if found is None:
            return None
        enhanced = found.reply.enhanced if found.reply is not None and found.reply.enhanced else GIVEN_UP_STATUS
        return Bounced(_text(found, mailbox), Stage.LOCAL, enhanced)

    def note(self, queue_id: str, mailbox: Mailbox, outcome: Outcome) -> None:
        """Count what came of an attempt."""
        now = self._clock.now()
        if isinstance(outcome, Delivered):
            if outcome.reply is not None and self._list.accepted(mailbox):
                self._write_soon()
            return
        if not isinstance(outcome, Bounced) or outcome.stage is not Stage.RCPT or outcome.reply is None:
            return
        if not outcome.reply.is_permanent or outcome.reply.enhanced not in _NO_MAILBOX:
            return
        listed = self._list.refused(mailbox, queue_id, outcome.reply, outcome.host, now)
        if listed is not None:
            self._sink(Suppressed(queue_id, str(mailbox), BY_REFUSALS, f"{listed.reason}: {outcome.reply}"))
        self._write_soon()

    # --- the operator -------------------------------------------------------------------------------------------------

    async def add(self, mailbox: Mailbox, by: str, reason: str, until: float) -> None:
        """On disk when it answers. Raises `StorageTrouble` or `Overloaded`; it counts until a restart all the same."""
        self._check()
        self._list.add(mailbox, by, reason, self._clock.now(), until)
        self._sink(Suppressed("", str(mailbox), by, reason))
        await self._write()

    async def remove(self, mailbox: Mailbox, by: str) -> bool:
        """Whether it was there; on disk when it answers. Raises as `add` does."""
        self._check()
        was_there = self._list.remove(mailbox)
        if was_there:
            self._sink(Unsuppressed(str(mailbox), by))
            await self._write()
        return was_there

    def _check(self) -> None:
        if self.trouble:
            raise StorageTrouble(self.trouble)

    # --- disk ---------------------------------------------------------------------------------------------------------

    def _write_soon(self, delay_s: float = _GATHER_S) -> None:
        if self._timer is None and not self.trouble:
            self._timer = self._clock.call_later(delay_s, self._begin_write)

    def _begin_write(self) -> None:
        self._timer = None
        Deferred.fromCoroutine(self._write_or_later())

    async def _write_or_later(self) -> None:
        try:
            await self._write()
        except Overloaded:
            self._write_soon()
        except StorageTrouble as trouble:
            if not self._is_told:
                self._sink(Trouble("", "the suppression list cannot be written", str(trouble), "tried every minute"))
            self._is_told = True
            self._write_soon(_RETRY_S)
        else:
            self._is_told = False

    async def _write(self) -> None:
        """One at a time, each with what is true when it begins."""
        await self._turn.acquire()
        try:
            octets = self._list.encode(self._clock.now())
            await self._blocking.run(Lane.QUEUE, self._file.write, octets)
        except OSError as trouble:
            raise StorageTrouble(str(storage_error(trouble))) from None
        finally:
            self._turn.release()

    async def stop(self) -> None:
        """Write what was counted and not written yet."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
            await self._write_or_later()
            if self._timer is not None:
                self._timer.cancel()


def _text(found: Listed, mailbox: Mailbox) -> str:
    """For the sender, who has never heard of the list."""
    since = datetime.fromtimestamp(found.since, UTC).date().isoformat()
    said = f"this address has been on our own mail server's suppression list since {since}"
    if found.by == BY_REFUSALS:
        said += f", because {found.reason}"
        if found.reply is not None:
            said += f", the last one with: {printable(str(found.reply))[:_MAX_WORDS]}"
    elif found.reason:
        said += f": {printable(found.reason)[:_MAX_WORDS]}"
    remedy = f"If it works again, our administrator can remove it: mailserver suppression remove {mailbox}"
    return f"{said.rstrip('.')}. {remedy}"
