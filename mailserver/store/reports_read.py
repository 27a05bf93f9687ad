"""The reports as the command line reads them: beside a running server, or without one. Blocking, no Twisted."""

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mailserver.mail.reports import KeptRow, KeptTls
from mailserver.store import reports_format
from mailserver.store.history_file import HistoryFile
from mailserver.store.journal_format import named


@dataclass(frozen=True, slots=True)
class Kept:
    """One report that was read; times are seconds since the epoch."""

    reporter: str
    domain: str
    proven: str
    begin: int
    end: int
    policy: str


class ReportReader(HistoryFile):
    """The open file. Raises as `HistoryFile` does."""

    application_id = reports_format.APPLICATION_ID
    known_version = len(reports_format.STEPS)

    def rows(self, since_day: int, domain: str = "") -> list[KeptRow]:
        """What DMARC reports say of days from that one on; of one domain, or of all."""
        query = (
            "SELECT domain, day, source, count, disposition, dkim, spf, header_from, reporter, proven, dkim_domains, "
            "spf_domains, policy FROM source JOIN report ON number = report WHERE day >= ?"
        )
        return [
            KeptRow(
                domain=told[0],
                day=told[1],
                source=told[2],
                count=told[3],
                disposition=told[4],
                dkim=bool(told[5]),
                spf=bool(told[6]),
                header_from=told[7],
                reporter=told[8],
                proven=told[9],
                dkim_domains=_names(told[10]),
                spf_domains=_names(told[11]),
                policy=told[12],
            )
            for told in self._asked(query, since_day, domain)
        ]

    def tls(self, since_day: int, domain: str = "") -> list[KeptTls]:
        """What reports about TLS say."""
        query = (
            "SELECT domain, day, tls.kind, reporter, proven, successes, failures, result, host, count, reason "
            "FROM tls JOIN report ON number = report WHERE day >= ?"
        )
        return [KeptTls(*row) for row in self._asked(query, since_day, domain)]

    def reports(self, kind: str, since: float, domain: str = "") -> list[Kept]:
        """The reports of a kind (`dmarc`, `tls`) about a time after that, the oldest first."""
        query = (
            'SELECT reporter, domain, proven, begin, "end", policy FROM report WHERE "end" >= ? '
            f"AND kind = '{'tls' if kind == 'tls' else 'dmarc'}'"
        )
        return [Kept(*row) for row in self._asked(query, since, domain, 'ORDER BY "end"')]

    # Any: SQLite's rows have the types that they were written with.
    def _asked(self, query: str, since: float, domain: str, order: str = "ORDER BY day") -> Iterator[tuple[Any, ...]]:
        values: tuple[float | str, ...] = (since,)
        if domain:
            query, values = f"{query} AND domain = ?", (since, domain)
        try:
            yield from self._connection.execute(f"{query} {order}", values)
        except sqlite3.Error as error:
            raise named(error) from error


def _names(text: object) -> tuple[str, ...]:
    try:
        found = json.loads(str(text))
    except (ValueError, RecursionError):
        return ()
    return tuple(str(one) for one in found) if isinstance(found, list) else ()
