"""Block lists within one SMTP session: asked from the greeting on, awaited at RCPT, for strangers only."""

from mailserver.mail.address import Mailbox
from mailserver.mail.peer import Peer
from mailserver.mail.reply import Reply
from mailserver.policy.dnsbl import Listing
from mailserver.session.list_check import ListCheck
from mailserver.session.smtp_acceptance import Transaction
from mailserver.session.smtp_profile import SmtpSettings
from mailserver.session.weighing import Weigher


class Listed:
    """What lists say about one client. Nothing is asked, and nothing awaited, where there are no lists."""

    def __init__(self, weigher: Weigher, settings: SmtpSettings) -> None:
        self._weigher = weigher
        self._trusted = settings.trusted_networks
        self._client: ListCheck | None = None
        self._is_asked = False

    def begin(self, peer: Peer) -> None:
        """The client is connected."""
        lists = self._weigher.lists
        if lists is None or peer.is_in(self._trusted) or not lists.concerns(peer):
            return
        self._is_asked = True
        self._client = lists.begin_client(peer.address)

    def begin_domains(self, transaction: Transaction) -> None:
        """MAIL named a sender."""
        lists = self._weigher.lists
        if lists is None or not self._concerns(transaction):
            return
        sender = transaction.envelope.reverse_path
        domains = (transaction.arrival.hello, *(() if sender is None else (sender.domain,)))
        transaction.domain_check = lists.begin_domains(domains)

    def has_to_wait(self, transaction: Transaction | None) -> bool:
        """Whether an answer is missing that a recipient's reply hangs on."""
        return any(not check.is_over for check in self._checks(transaction))

    async def settled(self, transaction: Transaction | None) -> None:
        """Return when nothing is missing any more."""
        for check in self._checks(transaction):
            await check.settled()

    def refusal(self, transaction: Transaction, recipient: Mailbox) -> Reply | None:
        """Why this recipient is refused; None when it is not. What is known is noted in the transaction."""
        checks = self._checks(transaction)
        if not checks:
            return None
        transaction.listing = Listing(tuple(hit for check in checks for hit in check.listing.hits))
        return self._weigher.refusal(transaction.listing, recipient)

    def forget(self) -> None:
        """The client is gone."""
        if self._client is not None:
            self._client.forget()

    def _checks(self, transaction: Transaction | None) -> list[ListCheck]:
        if transaction is None or not self._concerns(transaction):
            return []
        return [check for check in (self._client, transaction.domain_check) if check is not None]

    def _concerns(self, transaction: Transaction) -> bool:
        return self._is_asked and transaction.arrival.is_stranger
