"""Which recipients share one transaction, under the limits a host has told (RFC 9422)."""

from collections.abc import Sequence

from mailserver.mail.envelope import Recipient


def next_group(
    pending: Sequence[Recipient], max_recipients: int, max_domains: int | None = None
) -> tuple[Recipient, ...]:
    """The first of `pending`, in order, that fit into one transaction; at least one."""
    group: list[Recipient] = []
    domains: set[str] = set()
    for recipient in pending:
        if len(group) == max(1, max_recipients):
            break
        if max_domains is not None and recipient.mailbox.domain not in domains and len(domains) == max_domains:
            continue
        domains.add(recipient.mailbox.domain)
        group.append(recipient)
    return tuple(group)
