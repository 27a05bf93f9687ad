"""Which addresses a login may send from, in the envelope and in From.

One rule: whoever gets the mail for an address may send from it. So the answer always agrees with routing: the
account's own address, detail forms of it, every alias and catch-all that reaches it, and what `may_send_as` adds.
"""

from mailserver.mail.address import Mailbox
from mailserver.policy.routing import Here, find_route, without_detail
from mailserver.ports import Account, Directory

# How many addresses a refusal lists.
_LISTED = 5


def may_send_as(account: Account, address: Mailbox, directory: Directory) -> bool:
    """Whether `account` may use `address` as reverse-path or in From. Answers from memory."""
    own = account.mailbox.folded
    if address.folded == own:
        return True
    base = without_detail(address)
    if base is not None and base.folded == own:
        return True
    if _is_granted(account, address, base):
        return True
    route = find_route(address, directory)
    return isinstance(route, Here) and any(mailbox.folded == own for mailbox in route.mailboxes)


def _is_granted(account: Account, address: Mailbox, base: Mailbox | None) -> bool:
    """`may_send_as`: an address (with its detail forms) or `@domain`."""
    if not account.may_send_as:
        return False
    granted = {entry.lower() for entry in account.may_send_as}
    return f"@{address.domain}" in granted or address.folded in granted or (base is not None and base.folded in granted)


def sending_addresses(account: Account, directory: Directory) -> str:
    """The addresses `account` may use, for the text of a refusal; the account's own first, not all of many."""
    addresses = [str(account.mailbox), *account.may_send_as]
    addresses.extend(sorted(str(alias) for alias in directory.reaches(account)))
    shown = list(dict.fromkeys(addresses))
    text = ", ".join(shown[:_LISTED])
    return f"{text} and {len(shown) - _LISTED} more" if len(shown) > _LISTED else text
