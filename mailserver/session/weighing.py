"""Whether a message is junk: what block lists, a filter and DMARC say of it comes together here.

Three things may come of it. The message is refused; it is taken as junk, with marks in its header, and filed where each
account wants its junk; or nothing. `Weigher` is one for the server and only there when any of these is configured;
`Weighing` is made for each message that is concerned.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mailserver.mail import reply as replies
from mailserver.mail.address import Mailbox
from mailserver.mail.ids import QueueId
from mailserver.mail.junk import PLACE, Marks, fields_of, padded_fields_of
from mailserver.mail.peer import IpNetwork, Peer
from mailserver.mail.reply import Reply
from mailserver.maillog import Weighed
from mailserver.policy.dmarc.result import Disposition
from mailserver.policy.dnsbl import NOT_LISTED, Listing
from mailserver.policy.routing import ROLES
from mailserver.ports import (
    Acceptance,
    Clock,
    Resolver,
    StoredContent,
)
from mailserver.ports.scanning import NotScanned, ScanAction, Scanned, Scanner, ScanRequest
from mailserver.session.authentication import Findings
from mailserver.session.list_check import BlockLists
from mailserver.session.listed import Listed
from mailserver.session.meanwhile import Meanwhile

if TYPE_CHECKING:
    from mailserver.session.smtp_acceptance import Transaction

# How long the client's name in DNS may take, from the first recipient on; then it has none.
NAME_LIMIT_S = 2.0

GiveContent = Callable[[], Awaitable[bytes | StoredContent]]


@dataclass(frozen=True, slots=True)
class ScanSettings:
    """`defers_when_down`: what cannot be looked at is put off, not taken. `scans_logins`: mail of our people, too."""

    defers_when_down: bool = False
    scans_logins: bool = False


class ClientName(Meanwhile):
    """A client's name in DNS that leads back to its address; looked up from the moment this is made. Empty for none."""

    def __init__(self, peer: Peer, resolver: Resolver, clock: Clock) -> None:
        super().__init__()
        self.name = ""
        self._peer = peer
        self._resolver = resolver
        self._begin([self._look_up()], clock, NAME_LIMIT_S, "looking up a client's name")

    async def _look_up(self) -> None:
        address = self._peer.address
        names = () if address is None else await self._resolver.pointer(address)
        for name in names[:1] if isinstance(names, tuple) else ():
            found = await self._resolver.addresses(name)
            if not self.is_over and isinstance(found, tuple) and address in found:
                self.name = name


class Weigher:
    """Holds what does not change from message to message."""

    def __init__(
        self,
        junk_folder: Callable[[Mailbox], str],
        resolver: Resolver,
        clock: Clock,
        *,
        lists: BlockLists | None = None,
        scanner: Scanner | None = None,
        scanning: ScanSettings | None = None,
        takes_quarantine: bool = False,
        concerns_loopback: bool = False,
    ) -> None:
        """`takes_quarantine`: what DMARC quarantines is junk. `concerns_loopback`: for labs, loopback is a stranger."""
        self.lists = lists
        self._junk_folder = junk_folder
        self._resolver = resolver
        self._clock = clock
        self._scanner = scanner
        self._scanning = scanning or ScanSettings()
        self._takes_quarantine = takes_quarantine
        self._concerns_loopback = concerns_loopback

    def concerns(self, peer: Peer, *, is_stranger: bool, is_login: bool) -> bool:
        """Whether a message of this client is weighed."""
        if is_stranger:
            return self._concerns_loopback or not peer.is_loopback
        return is_login and self._scanner is not None and self._scanning.scans_logins

    def begin_name(self, peer: Peer) -> ClientName | None:
        """Begin to look up the client's name, if somebody will want to know."""
        return None if self._scanner is None else ClientName(peer, self._resolver, self._clock)

    def listed(self, peer: Peer, trusted: tuple[IpNetwork, ...]) -> Listed | None:
        """What lists say about a client; None when they are not asked about it."""
        if self.lists is None or peer.is_in(trusted) or not self.lists.concerns(peer):
            return None
        return Listed(self.lists, peer)

    def weighing(self, transaction: "Transaction", queue_id: QueueId) -> "Weighing | None":
        """For one message; None when there is nothing that could be found at its end."""
        arrival, listing = transaction.arrival, transaction.listing or NOT_LISTED
        is_stranger = arrival.is_stranger
        scanner = self._scanner if is_stranger or self._scanning.scans_logins else None
        if scanner is None and not (is_stranger and (self._takes_quarantine or listing.hits)):
            return None
        sender = transaction.envelope.reverse_path
        request = ScanRequest(
            queue_id,
            arrival.peer.address,
            arrival.hello,
            "",
            "" if sender is None else str(sender),
            tuple(str(recipient.mailbox) for recipient in transaction.recipients),
            arrival.login,
        )
        junk_at = None if self.lists is None else self.lists.settings.junk_at
        return Weighing(
            request,
            listing,
            transaction.client_name,
            scanner,
            self._junk_folder,
            is_listed=junk_at is not None and listing.weight >= junk_at,
            takes_quarantine=self._takes_quarantine,
            defers_when_down=self._scanning.defers_when_down,
        )


class Weighing:
    """One message. After `finish`: whether it `is_junk`, and why."""

    def __init__(
        self,
        request: ScanRequest,
        listing: Listing,
        client_name: ClientName | None,
        scanner: Scanner | None,
        junk_folder: Callable[[Mailbox], str],
        *,
        is_listed: bool = False,
        takes_quarantine: bool = False,
        defers_when_down: bool = False,
    ) -> None:
        self._request = request
        self._listing = listing
        self._client_name = client_name
        self._scanner = scanner
        self._junk_folder = junk_folder
        self._is_listed = is_listed
        self._takes_quarantine = takes_quarantine
        self._defers_when_down = defers_when_down
        self._scan: Scanned | NotScanned | None = None
        self._quarantined_by = ""
        self._has_place = False
        self.is_junk = False
        # Why, for the log, when the message is refused.
        self.detail = ""

    def place(self) -> bytes:
        """What stands where the marks will be, in a content that is streamed."""
        self._has_place = True
        return PLACE

    async def finish(self, findings: Findings | None, content: GiveContent) -> Reply | None:
        """Find out, when the content is at its end; a reply is why it is refused.

        `findings` are those of SPF, DKIM and DMARC; `content` gives what the filter is shown. Raises what it raises.
        """
        dmarc = None if findings is None else findings.dmarc
        if self._takes_quarantine and dmarc is not None and dmarc.done is Disposition.QUARANTINE:
            self._quarantined_by = dmarc.result.domain or "-"
        refusal = await self._scanned(content) if self._scanner is not None else None
        is_filtered = isinstance(self._scan, Scanned) and self._scan.action in (ScanAction.JUNK, ScanAction.REFUSE)
        self.is_junk = self._is_listed or bool(self._quarantined_by) or is_filtered
        return refusal

    async def _scanned(self, content: GiveContent) -> Reply | None:
        assert self._scanner is not None
        name = ""
        if self._client_name is not None:
            await self._client_name.settled()
            name = self._client_name.name
        self._scan = scan = await self._scanner.scan(replace(self._request, host_name=name), await content())
        self.detail = f"rspamd: {scan}" if isinstance(scan, Scanned) else ""
        if isinstance(scan, NotScanned):
            return replies.FILTER_DOWN if scan.is_down and self._defers_when_down else None
        if scan.action is ScanAction.REFUSE and not self._is_for_roles_only:
            return replies.filter_refused(scan.message)
        return replies.filter_put_off(scan.message) if scan.action is ScanAction.DEFER else None

    @property
    def _is_for_roles_only(self) -> bool:
        """Who complains to abuse@ about junk sends some along."""
        return all(one.partition("@")[0].lower() in ROLES for one in self._request.recipients)

    def applied(self, acceptance: Acceptance, received: bytes) -> Acceptance:
        """The acceptance with the marks before `received`, and its copies where they belong."""
        acceptance = replace(acceptance, received=self._marks() + received)
        if not self.is_junk:
            return acceptance
        local = tuple(replace(copy, folder=self._junk_folder(copy.mailbox)) for copy in acceptance.local)
        return replace(acceptance, local=local, envelope=replace(acceptance.envelope, is_junk=True))

    def _marks(self) -> bytes:
        scan = self._scan if isinstance(self._scan, Scanned) else None
        if not self.is_junk and scan is None and not self._has_place:
            return b""
        marks = Marks(
            self.is_junk,
            None if scan is None else scan.score,
            () if scan is None else tuple(name for name, _ in scan.symbols),
            tuple(hit.listed_by.name for hit in self._listing.against) if self._is_listed else (),
            self._quarantined_by,
            () if scan is None else scan.fields,
        )
        return padded_fields_of(marks) if self._has_place else fields_of(marks)

    def event(self, queue_id: QueueId, peer: str) -> Weighed | None:
        """For the log, after `finish`; None when there is nothing to tell."""
        scan = self._scan
        told = "" if scan is None else str(scan) if isinstance(scan, Scanned) else f"not asked: {scan.reason}"
        hits = tuple(str(hit) for hit in self._listing.hits)
        if not (hits or told or self._quarantined_by):
            return None
        return Weighed(queue_id, peer, "junk" if self.is_junk else "none", hits, told, self._quarantined_by)
