"""Block lists within one SMTP session: asked from the greeting on, awaited at RCPT, for strangers only."""

from typing import TYPE_CHECKING

from mailserver.mail.address import Mailbox
from mailserver.mail.peer import Peer
from mailserver.mail.reply import Reply, listed
from mailserver.policy.dnsbl import Listing
from mailserver.policy.junk import is_always_reachable
from mailserver.session.list_check import BlockLists, ListCheck

if TYPE_CHECKING:
    from mailserver.session.smtp_acceptance import Transaction


class Listed:
    """What lists say about one client that they are asked about."""

    def __init__(self, lists: BlockLists, peer: Peer) -> None:
        self._lists = lists
        self._peer = peer
        self._client: ListCheck | None = None

    def begin(self) -> None:
        """The client is connected."""
        self._client = self._lists.begin_client(self._peer.address)

    def begin_domains(self, transaction: "Transaction") -> None:
        """MAIL named a sender."""
        if transaction.arrival.is_stranger:
            sender = transaction.envelope.reverse_path
            domains = (transaction.arrival.hello, *(() if sender is None else (sender.domain,)))
            transaction.domain_check = self._lists.begin_domains(domains)

    def has_to_wait(self, transaction: "Transaction | None") -> bool:
        """Whether an answer is missing that a recipient's reply hangs on."""
        return any(not check.is_over for check in self._checks(transaction))

    async def settled(self, transaction: "Transaction | None") -> None:
        """Return when nothing is missing any more."""
        for check in self._checks(transaction):
            await check.settled()

    def refusal(self, transaction: "Transaction", recipient: Mailbox) -> Reply | None:
        """Why this recipient is refused; None when it is not. What is known is noted in the transaction."""
        hits = tuple(hit for check in self._checks(transaction) for hit in check.listing.hits)
        if not hits:
            return None
        listing = transaction.listing = Listing(hits)
        refuse_at = self._lists.settings.refuse_at
        if refuse_at is None or listing.weight < refuse_at or is_always_reachable(recipient):
            return None
        return listed((hit.subject, hit.listed_by.name, hit.explanation) for hit in listing.against)

    def forget(self) -> None:
        """The client is gone."""
        if self._client is not None:
            self._client.forget()

    def _checks(self, transaction: "Transaction | None") -> list[ListCheck]:
        if transaction is None or not transaction.arrival.is_stranger:
            return []
        return [check for check in (self._client, transaction.domain_check) if check is not None]
