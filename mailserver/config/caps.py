"""The table `[caps]`: how much an account may send to other servers within 24 hours. All wrong keys at once."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

from attrs import Factory, evolve, fields, frozen

from mailserver.config.fault import Wrong, Wrongs, nearest
from mailserver.config.values import Rule, mailbox, whole_number
from mailserver.mail.address import Mailbox
from mailserver.mail.reply import printable

_count = whole_number(minimum=0)


@frozen
class CapTable:
    """What one account may do; None for what stands in `[caps]`, 0 for no cap."""

    messages: int | None = None
    recipients: int | None = None
    new_recipients: int | None = None


_KEYS = tuple(field.name for field in fields(CapTable))


def _tables(value: object, base: Path) -> Mapping[str, CapTable]:
    if not isinstance(value, dict):
        raise Wrong('must be tables: begin each with a line [caps.accounts."alice@example.org"]')
    found: dict[str, CapTable] = {}
    wrongs: list[tuple[str, object, Wrong]] = []
    for name, table in value.items():
        where = f'."{printable(name)}"'
        try:
            address = mailbox.read(name, base)
            assert isinstance(address, Mailbox)
            if address.folded in found:
                raise Wrong("this account stands here twice")
            if not isinstance(table, dict):
                raise Wrong('must be a table: a line [caps.accounts."alice@example.org"] with its keys below')
        except Wrong as wrong:
            wrongs.append((where, table, wrong))
            continue
        counts: dict[str, int] = {}
        for key, written in table.items():
            try:
                if key not in _KEYS:
                    raise Wrong("there is no such key", did_you_mean=nearest(key, _KEYS))
                counts[key] = _count.read(written, base)  # type: ignore[assignment]  # it reads whole numbers
            except Wrong as wrong:
                wrongs.append((f"{where}.{printable(key)}", written, wrong))
        found[address.folded] = CapTable(**counts)
    if wrongs:
        raise Wrongs(wrongs)
    return MappingProxyType(found)


@frozen
class Caps:
    """Within 24 hours; 0 is no cap. `accounts` by folded address."""

    messages: Annotated[int, _count] = 500
    recipients: Annotated[int, _count] = 1000
    new_recipients: Annotated[int, _count] = 200
    accounts: Annotated[Mapping[str, CapTable], Rule(_tables)] = Factory(lambda: MappingProxyType({}))

    def of(self, login: str) -> "Caps":
        """What counts for this account, by its folded address."""
        own = self.accounts.get(login)
        if own is None:
            return self
        return evolve(self, **{key: one for key in _KEYS if (one := getattr(own, key)) is not None})
