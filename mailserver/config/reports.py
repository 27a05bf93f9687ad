"""The table `[reports]`: reports of others that are read, and our own that are sent."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from attrs import frozen

from mailserver.config import values
from mailserver.config.fault import shown
from mailserver.config.values import Rule, duration, size
from mailserver.mail.address import Mailbox

if TYPE_CHECKING:
    from mailserver.config.schema import Config


def _optional_mailbox(value: object, base: Path) -> Mailbox | None:
    if value == "":
        return None
    found = values.mailbox.read(value, base)
    assert isinstance(found, Mailbox)
    return found


@frozen
class Reports:
    """`dmarc_address` and `tlsrpt_address` are where others send reports to; None: the postmaster of each domain."""

    read: Annotated[bool, values.boolean] = True
    dmarc_address: Annotated[Mailbox | None, Rule(_optional_mailbox)] = None
    tlsrpt_address: Annotated[Mailbox | None, Rule(_optional_mailbox)] = None
    send_dmarc: Annotated[bool, values.boolean] = False
    send_tlsrpt: Annotated[bool, values.boolean] = False
    keep: Annotated[float, duration()] = 180 * 86400.0
    max_size: Annotated[int, size(minimum=1)] = 100_000_000

    def addresses(self, domains: tuple[str, ...]) -> frozenset[str]:
        """The addresses at which reports come in, folded."""
        told = [one.folded for one in (self.dmarc_address, self.tlsrpt_address) if one is not None]
        if self.dmarc_address is None or self.tlsrpt_address is None:
            told += [Mailbox("postmaster", domain).folded for domain in domains]
        return frozenset(told)


def unwise_reports(config: "Config") -> Iterator[str]:
    """What works and is probably not meant."""
    wanted = config.reports
    for key, mailbox in (("dmarc_address", wanted.dmarc_address), ("tlsrpt_address", wanted.tlsrpt_address)):
        if mailbox is not None and mailbox.domain not in config.domains:
            yield (
                f"reports.{key}: {shown(str(mailbox))}: reports that go to another server are not read here; "
                "mailserver dmarc import reads them from files"
            )
    checks = config.authentication
    if wanted.send_dmarc and "off" in (checks.spf.value, checks.dkim.value, checks.dmarc.value):
        yield "reports.send_dmarc: true: without authentication.spf, dkim and dmarc there is nothing to report"
