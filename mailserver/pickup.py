"""Emptying the drop folder: look, take one message after the other, remove each once it is on disk elsewhere.

`store.drop` knows the folder, `session.local_submission` what becomes of a message; here they meet.
"""

import errno
from collections.abc import Callable
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from mailserver.mail import reply as replies
from mailserver.mail.address import Mailbox, parse_mailbox
from mailserver.mail.address_fields import mailbox_with_domain
from mailserver.mail.envelope import Envelope, Recipient
from mailserver.mail.fault import SyntaxFault
from mailserver.maillog import SetAside, Sink, Trouble
from mailserver.ports import Blocking, Clock, Lane, Overloaded
from mailserver.session.local_submission import Disposal, LocalSubmission
from mailserver.session.smtp_acceptance import LocalUser
from mailserver.store.drop import DropFolder, Look
from mailserver.store.drop_format import DropHead
from mailserver.store.drop_message import Dropped

T = TypeVar("T")

# With trouble that every message would meet (a full disk), nothing is looked at for this time.
PAUSE_S = 5.0
# With trouble that one message had, that one is left alone for this time, and longer each time it has it again.
POSTPONED_S = 5.0
LONGEST_POSTPONED_S = 600.0
_MAX_POSTPONED = 10_000
# Files that cannot be read now are told so often in a minute: a user can make as many as he likes (a lease will do).
_TOLD_IN_A_MINUTE = 20
_OURS = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM))

_log = Logger(namespace="mailserver")


class _PauseAll(Exception):
    """Trouble that every message would meet."""


class Pickup:
    """Calls of `look` come one after the other. `domain` is what bare names belong to."""

    def __init__(
        self,
        folder: DropFolder,
        submission: LocalSubmission,
        domain: str,
        *,
        blocking: Blocking,
        clock: Clock,
        log: Sink,
    ) -> None:
        self._folder = folder
        self._submission = submission
        self._domain = domain
        self._blocking = blocking
        self._clock = clock
        self._log = log
        self._not_before = float("-inf")
        # Name -> until when, and how long that was.
        self._postponed: dict[str, tuple[float, float]] = {}
        self._minute, self._told = 0, 0
        self._is_stopping = False
        self._under_way: Deferred[None] | None = None

    async def look(self) -> None:
        """Pick up what there is now, up to the bounds of one look."""
        if self._is_stopping or self._clock.monotonic() < self._not_before:
            return
        self._under_way = Deferred()
        try:
            await self._picked_up()
        except (Overloaded, _PauseAll):
            self._not_before = self._clock.monotonic() + PAUSE_S
        finally:
            ended, self._under_way = self._under_way, None
            ended.callback(None)

    def stop(self) -> "Deferred[None]":
        """Begin no other message; fires when the one under way is done, so that it is not delivered again."""
        self._is_stopping = True
        stopped: Deferred[None] = Deferred()
        if self._under_way is None:
            self._close(stopped)
        else:
            self._under_way.addCallback(lambda _: self._close(stopped))
        return stopped

    def _close(self, stopped: "Deferred[None]") -> None:
        self._folder.close()
        stopped.callback(None)

    async def _picked_up(self) -> None:
        found = await self._run(self._folder.look)
        self._tell(found)
        for name in found.names:
            if self._is_stopping:
                return
            if self._postponed.get(name, (0.0, 0.0))[0] > self._clock.monotonic():
                continue
            try:
                await self._pick_up(name)
            except (Overloaded, _PauseAll):
                raise
            except Exception:  # noqa: BLE001 - one message that breaks us must not keep the others waiting for ever
                _log.failure("picking up {name} broke", name=name)
                self._postpone(name)

    async def _pick_up(self, name: str) -> None:
        """One message. Trouble that it alone has keeps no other waiting: anybody could make some."""
        try:
            dropped = await self._run(self._folder.open, name)
            if isinstance(dropped, Look):
                self._tell(dropped)
                return
            try:
                await self._taken(dropped)
            finally:
                dropped.close()
        except OSError as error:
            reason = error.strerror or str(error)
            if self._may_tell():
                self._log(Trouble("", f"{self._folder.path}/{name} cannot be read", reason, "it is tried again"))
            if error.errno in _OURS:
                raise _PauseAll from None
            self._postpone(name)

    def _may_tell(self) -> bool:
        minute = int(self._clock.monotonic() // 60)
        if minute != self._minute:
            self._minute, self._told = minute, 0
        self._told += 1
        return self._told <= _TOLD_IN_A_MINUTE

    async def _taken(self, dropped: Dropped) -> None:
        wish = self._wish(dropped)
        if isinstance(wish, str):
            self._tell(await self._run(self._folder.set_aside, dropped.name, wish), dropped.head)
            return
        user, envelope = wish
        submitted = await self._submission.submit(
            user, envelope, dropped.head.size_octets, lambda: self._run(dropped.next_piece)
        )
        if submitted.disposal is Disposal.KEEP:
            if submitted.reply is replies.DISK_NEARLY_FULL:
                raise _PauseAll
            self._postpone(dropped.name)
            return
        if submitted.disposal is Disposal.SET_ASIDE:
            self._tell(await self._run(self._folder.set_aside, dropped.name, str(submitted.reply)), dropped.head)
            return
        reason = await self._patiently(self._folder.remove, dropped)
        if reason:
            effect = "it was delivered; it is delivered again if the server is started before it can be removed"
            self._log(Trouble("", f"{self._folder.path}/{dropped.name} cannot be removed", reason, effect))

    def _wish(self, dropped: Dropped) -> tuple[LocalUser, Envelope] | str:
        """Who sends, and the envelope; a sentence when an address is none."""
        head = dropped.head
        own = self._own_address(dropped.login) or Mailbox(f"uid{dropped.uid}", self._domain)
        user = LocalUser(dropped.uid, dropped.login, own)
        sender: Mailbox | SyntaxFault | None = own
        if head.sender is not None:  # empty is the null reverse-path
            sender = mailbox_with_domain(head.sender, self._domain) if head.sender else None
        recipients = []
        for one in head.recipients:
            mailbox = mailbox_with_domain(one.address, self._domain)
            if isinstance(mailbox, SyntaxFault):
                return f"a recipient is no address: {mailbox.reason}"
            recipients.append(Recipient(mailbox, one.notify, one.orcpt))
        if isinstance(sender, SyntaxFault):
            return f"the sender is no address: {sender.reason}"
        is_utf8 = not all(one.mailbox.is_ascii for one in recipients) or (sender is not None and not sender.is_ascii)
        return user, Envelope(
            sender, tuple(recipients), head.ret, head.envid, head.body, is_utf8, head.size_octets or None
        )

    def _own_address(self, login: str) -> Mailbox | None:
        """None for a login name that cannot be an address."""
        own = parse_mailbox(f"{login}@{self._domain}") if login else None
        return own if isinstance(own, Mailbox) else None

    def _addresses(self, head: DropHead, own: str) -> tuple[str, tuple[str, ...]]:
        """Sender and recipients as texts, whatever they are."""
        texts = (head.sender or "", *(one.address for one in head.recipients))
        boxes = [(text, mailbox_with_domain(text, self._domain)) for text in texts]
        sender, *recipients = (text if isinstance(box, SyntaxFault) else str(box) for text, box in boxes)
        return own if head.sender is None else sender, tuple(recipients)

    # --- what they share ----------------------------------------------------------------------------------------------

    async def _run(self, call: Callable[..., T], *args: object) -> T:
        return await self._blocking.run(Lane.GENERAL, call, *args)

    async def _patiently(self, call: Callable[..., T], *args: object) -> T:
        """A delivered message must be removed, however busy the disk is."""
        while True:
            try:
                return await self._run(call, *args)
            except Overloaded:
                await self._clock.sleep(0.5)

    def _postpone(self, name: str) -> None:
        if len(self._postponed) >= _MAX_POSTPONED:
            self._postponed.clear()
        wait_s = min(LONGEST_POSTPONED_S, 2 * self._postponed.get(name, (0.0, POSTPONED_S / 2))[1])
        self._postponed[name] = (self._clock.monotonic() + wait_s, wait_s)

    def _tell(self, found: Look, head: DropHead | None = None) -> None:
        """`head` is what the file said that was set aside, if it could be read."""
        if found.trouble:
            effect = "mail left with the sendmail command is not picked up"
            self._log(Trouble("", "the drop folder cannot be used", found.trouble, effect))
        for one in found.remarks:
            where = "set-aside" if one.is_moved else "left where it is"
            own = str(self._own_address(one.owner) or "")
            sender, recipients = (own, ()) if head is None else self._addresses(head, own)
            self._log(SetAside(f"{self._folder.path}/{one.name}", one.owner, one.reason, where, sender, recipients))
        if found.hidden_remarks:
            self._log(SetAside(str(self._folder.path), "", f"{found.hidden_remarks} more files", "not told one by one"))
