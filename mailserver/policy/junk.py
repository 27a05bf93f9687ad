"""Where junk goes: into the folder of an account, or marked into its inbox."""

from mailserver.mail.address import Mailbox
from mailserver.mail.junk import JUNK_FOLDER, JunkDelivery
from mailserver.policy.routing import ROLES
from mailserver.ports import Directory


class JunkFolders:
    """Answers for each mailbox, from memory; what an account says counts before what is said for all."""

    def __init__(self, directory: Directory, delivery: JunkDelivery) -> None:
        self._directory = directory
        self._delivery = delivery

    def __call__(self, mailbox: Mailbox) -> str:
        """The folder for a mailbox's junk; empty for the inbox."""
        account = self._directory.account(mailbox)
        own = None if account is None else account.junk
        return JUNK_FOLDER if (own or self._delivery) is JunkDelivery.FOLDER else ""


def is_always_reachable(mailbox: Mailbox) -> bool:
    """Whether nothing that is only suspected of a client may keep its mail from this address.

    RFC 5321 4.5.1, RFC 2142: whoever has trouble with us, a listed client too, must be able to say so.
    """
    return mailbox.local_part.casefold() in ROLES
