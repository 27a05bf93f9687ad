"""The reports as the server writes them: what others sent in, and counts for our own. Blocking, no Twisted.

Each call opens the file and closes it again: there are few of them. A damaged file is set aside and a new one begun,
which loses figures and no mail. Every method raises `JournalUnavailable` when the file cannot be used now.
"""

import json
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from mailserver.mail.reports import DAY_S, IMPORTED, DmarcReport, Report, TlsPolicyResult, TlsReport
from mailserver.store.files import DISK, Files
from mailserver.store.journal_format import JournalDamaged, JournalUnavailable, named, set_aside
from mailserver.store.reports_format import open_reports

T = TypeVar("T")

# Of one domain on one day; what comes beyond is not counted. Honest traffic of a small server has a tenth of it.
MAX_SEEN_OF_DOMAIN = 5000
# Of one kind on one day.
MAX_SEEN = 50_000
# How long it is known which of our own reports were made.
SENT_KEPT_DAYS = 30
_MOST_DOMAINS = 5
# Kinds of failures in one report about TLS.
_MOST_FAILURES = 200
# What SQLite's numbers and others' programs hold.
_MOST = 2**53
_SLICE = 200


@dataclass(frozen=True, slots=True)
class Seen:
    """Something that our report about a domain and a day will tell: `what` is JSON for whoever builds the report."""

    kind: str
    day: int
    domain: str
    what: str


class ReportStore:
    """May be called from several threads; one works at a time. `max_octets` bounds what `add` fills; 0 is no bound."""

    def __init__(self, path: Path, files: Files = DISK, *, max_octets: int = 0) -> None:
        self.path = path
        self._max_octets = max_octets
        self._files = files
        self._one_at_a_time = threading.Lock()

    # --- what others sent ---------------------------------------------------------------------------------------------

    def add(self, report: Report, domain: str, proven: str, now: float) -> bool:
        """Keep what a report says of one domain of ours; False when it was there before. `proven` as in `KeptRow`."""

        def add(connection: sqlite3.Connection) -> bool:
            is_new = _add(connection, report, domain, proven, now)
            if is_new and self._max_octets:
                # Not only now and then: a flood of reports fills a disk in an hour.
                _shrink(connection, self._max_octets)
            return is_new

        return self._change(add)

    def prune(self, older_than: float, max_octets: int) -> int:
        """Remove what is about a time before that, then the oldest until the rest is small enough; how many went."""
        if not self.path.exists():
            return 0

        def remove(connection: sqlite3.Connection) -> int:
            gone = connection.execute('DELETE FROM report WHERE "end" < ?', (older_than,)).rowcount
            first_day = int(older_than // DAY_S)
            connection.execute("DELETE FROM seen WHERE day < ?", (first_day,))
            gone += _shrink(connection, max_octets)
            return gone

        return self._change(remove)

    # --- our own ------------------------------------------------------------------------------------------------------

    def count(self, counts: Mapping[Seen, int]) -> int:
        """Add to what our own reports will tell; how many messages or sessions found no room."""
        return self._change(lambda connection: _count(connection, counts)) if counts else 0

    def due(self, kind: str, before_day: int) -> list[tuple[int, str]]:
        """The (day, domain) of which there are counts and no report was made; the oldest first."""
        if not self.path.exists():
            return []
        query = "SELECT DISTINCT day, domain FROM seen WHERE kind = ? AND day < ? ORDER BY day, domain"
        return self._change(lambda connection: list(connection.execute(query, (kind, before_day))))

    def seen(self, kind: str, day: int, domain: str) -> list[tuple[str, int]]:
        """What was counted, as (`what`, count)."""
        query = "SELECT what, count FROM seen WHERE kind = ? AND day = ? AND domain = ? ORDER BY what"
        return self._change(lambda connection: list(connection.execute(query, (kind, day, domain))))

    def settle(self, kind: str, day: int, domain: str, now: float, outcome: str) -> None:
        """The report about this was made, or will never be; `outcome` in words."""

        def write(connection: sqlite3.Connection) -> None:
            key = (kind, day, domain)
            connection.execute("DELETE FROM seen WHERE kind = ? AND day = ? AND domain = ?", key)
            connection.execute("INSERT OR REPLACE INTO sent VALUES (?, ?, ?, ?, ?)", (*key, now, outcome))
            connection.execute("DELETE FROM sent WHERE day < ?", (int(now // DAY_S) - SENT_KEPT_DAYS,))

        self._change(write)

    # --- one transaction ----------------------------------------------------------------------------------------------

    def _change(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._one_at_a_time:
            try:
                return self._in_transaction(work)
            except JournalDamaged as damage:
                try:
                    set_aside(self.path, self._files)
                except OSError as error:
                    raise JournalUnavailable(f"{damage}; it cannot be set aside: {error.strerror}") from error
                try:
                    return self._in_transaction(work)
                except JournalDamaged as again:
                    raise JournalUnavailable(str(again)) from again

    def _in_transaction(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with closing(open_reports(self.path, self._files)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
                result = work(connection)
                connection.execute("COMMIT")
            except sqlite3.Error as error:  # closing it undoes the rest
                raise named(error) from error
            return result


def _add(connection: sqlite3.Connection, report: Report, domain: str, proven: str, now: float) -> bool:
    kind = "dmarc" if isinstance(report, DmarcReport) else "tls"
    key = (kind, domain, report.reporter, report.report_id)
    known = connection.execute(
        "SELECT proven FROM report WHERE kind = ? AND domain = ? AND reporter = ? AND report_id = ?", key
    )
    # A forged report must not keep the true one out, so only one that is as well vouched for is the same.
    if any(before in (proven, IMPORTED) or (proven == IMPORTED and before) for (before,) in known):
        return False
    policy = report.policy.policy if isinstance(report, DmarcReport) else ""
    values = (*key, proven, report.begin, report.end, now, policy)
    number = connection.execute(
        'INSERT INTO report (kind, domain, reporter, report_id, proven, begin, "end", received, policy) '
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        values,
    ).lastrowid
    # A period of a day may begin at any hour; it counts for the day that has most of it.
    day = (report.begin + report.end) // 2 // DAY_S
    if isinstance(report, TlsReport):
        rows = _tls_rows([one for one in report.policies if one.domain == domain])
        connection.executemany(
            "INSERT INTO tls VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", ((number, day, *row) for row in rows)
        )
    else:
        connection.executemany(
            "INSERT INTO source VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            ((number, day, *row) for row in _source_rows(report)),
        )
    return True


def _source_rows(report: DmarcReport) -> Iterable[tuple[object, ...]]:
    """Its rows, those alike in one."""
    sums: dict[tuple[str, str, bool, bool, str], int] = {}
    dkim: dict[tuple[str, str, bool, bool, str], dict[str, None]] = {}
    spf: dict[tuple[str, str, bool, bool, str], dict[str, None]] = {}
    for row in report.rows:
        key = (row.source, row.disposition, row.dkim, row.spf, row.header_from)
        sums[key] = sums.get(key, 0) + row.count
        passed = [one.domain for one in row.signatures if one.result == "pass" and one.domain]
        dkim.setdefault(key, {}).update(dict.fromkeys(passed))
        spf.setdefault(key, {}).update(dict.fromkeys([row.spf_domain] if row.spf_result == "pass" else []))
    for key, count in sums.items():
        domains = (json.dumps([name for name in found[key] if name][:_MOST_DOMAINS]) for found in (dkim, spf))
        source, *rest = key
        yield (source, min(count, _MOST), *rest, *domains)


def _tls_rows(policies: Iterable[TlsPolicyResult]) -> Iterable[tuple[object, ...]]:
    """A sum for each kind of policy, and one for failures that are alike; what is beyond the bound is in the sums."""
    sums: dict[str, list[int]] = {}
    failures: dict[tuple[str, str, str, str], int] = {}
    for policy in policies:
        total = sums.setdefault(policy.kind, [0, 0])
        total[0] += policy.successes
        total[1] += policy.failures
        for one in policy.details:
            key = (policy.kind, one.result, one.host, one.reason)
            if key in failures or len(failures) < _MOST_FAILURES:
                failures[key] = failures.get(key, 0) + one.count
    for kind, (successes, failed) in sums.items():
        yield (kind, min(successes, _MOST), min(failed, _MOST), "", "", 0, "")
    for (kind, result, host, reason), count in failures.items():
        yield (kind, 0, 0, result, host, min(count, _MOST), reason)


def _count(connection: sqlite3.Connection, counts: Mapping[Seen, int]) -> int:
    lost = 0
    room: dict[tuple[str, int, str], int] = {}
    total: dict[tuple[str, int], int] = {}
    for one, count in counts.items():
        place, whole = (one.kind, one.day, one.domain), (one.kind, one.day)
        if whole not in total:
            query = "SELECT count(*) FROM seen WHERE kind = ? AND day = ?"
            (total[whole],) = connection.execute(query, whole).fetchone()
        if place not in room:
            query = "SELECT count(*) FROM seen WHERE kind = ? AND day = ? AND domain = ?"
            (room[place],) = connection.execute(query, place).fetchone()
        update = "UPDATE seen SET count = count + ? WHERE kind = ? AND day = ? AND domain = ? AND what = ?"
        if connection.execute(update, (count, *place, one.what)).rowcount:
            continue
        if room[place] >= MAX_SEEN_OF_DOMAIN or total[whole] >= MAX_SEEN:
            lost += count
            continue
        connection.execute("INSERT INTO seen VALUES (?, ?, ?, ?, ?)", (*place, one.what, count))
        room[place] += 1
        total[whole] += 1
    return lost


def _shrink(connection: sqlite3.Connection, max_octets: int) -> int:
    """Remove the oldest reports until the rest is small enough; how many went."""
    gone = 0
    while _used_octets(connection) > max_octets:
        # Counts for our own reports grow with whatever strangers send; they must not push out what others told.
        whole = "SELECT coalesce(sum(length(what) + length(domain)), 0), count(*) FROM seen"
        octets, number = connection.execute(whole).fetchone()
        if octets > max_octets // 4:
            fewest = (
                "DELETE FROM seen WHERE (kind, day, domain, what) IN "
                "(SELECT kind, day, domain, what FROM seen ORDER BY day, count LIMIT ?)"
            )
            connection.execute(fewest, (max(_SLICE, number // 10),))
            continue
        # What nobody vouches for goes first: anybody can send it, to push out the rest.
        oldest = "DELETE FROM report WHERE number IN (SELECT number FROM report ORDER BY proven <> '', \"end\" LIMIT ?)"
        some = connection.execute(oldest, (_SLICE,)).rowcount
        gone += some
        if not some:
            connection.execute("DELETE FROM seen")
            break
    return gone


def _used_octets(connection: sqlite3.Connection) -> int:
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)
