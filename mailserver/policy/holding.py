"""Which recipients of a new message are held until the operator releases them: the `[[hold]]` rules. Pure.

Asked when a message enters the queue. A report of our own is never held: it would only hide what it tells. A copy that
an alias made was judged under its own address before, so only rules about recipients count for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from mailserver.mail.address import Mailbox
from mailserver.mail.envelope import Envelope


@dataclass(frozen=True, slots=True)
class Pattern:
    """One mailbox by its `folded` key, or `@domain` for all of a canonical domain."""

    text: str

    def takes(self, mailbox: Mailbox | None) -> bool:
        """Whether this mailbox is meant; the null reverse-path never is."""
        if mailbox is None:
            return False
        if self.text.startswith("@"):
            return mailbox.domain == self.text[1:]
        return mailbox.folded == self.text

    def takes_text(self, login: str) -> bool:
        """The same for a login name."""
        local, at, domain = login.rpartition("@")
        return bool(at) and self.takes(Mailbox(local, domain))


@dataclass(frozen=True, slots=True)
class HoldRule:
    """All patterns that are given must fit. `name` is how the configuration calls it: `hold[0]`."""

    name: str
    sender: Pattern | None = None
    recipient: Pattern | None = None
    login: Pattern | None = None
    reason: str = ""

    def takes(self, sender: Mailbox | None, recipient: Mailbox, login: str) -> bool:
        """Whether this recipient of such a message is held."""
        return (
            (self.sender is None or self.sender.takes(sender))
            and (self.recipient is None or self.recipient.takes(recipient))
            and (self.login is None or self.login.takes_text(login))
        )


def rules_that_hold(
    rules: Sequence[HoldRule], envelope: Envelope, login: str, *, is_ours: bool = False, is_copy: bool = False
) -> dict[int, HoldRule]:
    """For each recipient that is held, by its place in the envelope, the first rule that says so.

    `is_ours`: a report of the server itself. `is_copy`: for the addresses behind an alias, judged once already.
    """
    if not rules or (is_ours and envelope.reverse_path is None):
        return {}
    # An older release marked copies as its own.
    chosen = [rule for rule in rules if rule.recipient is not None or not (is_copy or is_ours)]
    found: dict[int, HoldRule] = {}
    for number, recipient in enumerate(envelope.recipients):
        for rule in chosen:
            if rule.takes(envelope.reverse_path, recipient.mailbox, login):
                found[number] = rule
                break
    return found
