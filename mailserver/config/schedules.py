"""The tables `[relay.schedule."example.net"]`: other times for a domain and those below it. All wrong keys at once."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from attrs import fields, frozen

from mailserver.config.fault import Wrong, Wrongs, nearest
from mailserver.config.values import Rule, domain, duration, list_of
from mailserver.mail.reply import printable

retry_times = list_of(duration(), "times", '["5m", "1h"]', minimum=1, is_set=False)
notice_time = duration(may_be_never=True)


@frozen
class ScheduleTable:
    """Seconds; None for what stands in `[relay]`. `delay_notice_after` 0: no notices."""

    retry: tuple[float, ...] | None = None
    expire_after: float | None = None
    delay_notice_after: float | None = None


_KEYS = tuple(field.name for field in fields(ScheduleTable))
_RULES = {"retry": retry_times, "expire_after": duration(), "delay_notice_after": notice_time}


def _tables(value: object, base: Path) -> Mapping[str, ScheduleTable]:
    if not isinstance(value, dict):
        raise Wrong('must be tables: begin each with a line [relay.schedule."example.net"]')
    found: dict[str, ScheduleTable] = {}
    wrongs: list[tuple[str, object, Wrong]] = []
    for name, table in value.items():
        where = f'."{printable(name)}"'
        try:
            canonical = domain.read(name, base)
            assert isinstance(canonical, str)
            if canonical in found:
                raise Wrong("this domain stands here twice")
            if not isinstance(table, dict):
                raise Wrong('must be a table: a line [relay.schedule."example.net"] with its keys below')
            if table and all(isinstance(one, dict) for one in table.values()):  # [relay.schedule.example.net]
                raise Wrong('the domain must stand in quotes, such as [relay.schedule."example.net"]')
        except Wrong as wrong:
            wrongs.append((where, table, wrong))
            continue
        faults, times = _times(table, where, base)
        wrongs += faults
        found[canonical] = times
    if wrongs:
        raise Wrongs(wrongs)
    return MappingProxyType(found)


def _times(table: dict[str, object], where: str, base: Path) -> tuple[list[tuple[str, object, Wrong]], ScheduleTable]:
    times: dict[str, object] = {}
    faults: list[tuple[str, object, Wrong]] = []
    for key, written in table.items():
        place = f"{where}.{printable(key)}"
        try:
            if key not in _RULES:
                raise Wrong("there is no such key", did_you_mean=nearest(key, _KEYS))
            times[key] = _RULES[key].read(written, base)
        except Wrong as wrong:
            faults.append((place, written, wrong))
        except Wrongs as several:
            faults += [(place + inner, part, wrong) for inner, part, wrong in several.parts]
    return faults, ScheduleTable(**times)  # type: ignore[arg-type]  # each was read by its own rule


tables = Rule(_tables)
