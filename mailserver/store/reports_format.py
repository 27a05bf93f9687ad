"""The file of reports: its tables and how it is opened. Blocking, no Twisted.

`<state>/reports.sqlite3` is kept like the journal (`journal_format`: mode, WAL, versions, damage), and like it may be
deleted at any time: it holds figures that others told, and counts for our own reports, and no mail.

| version | tables |
|---|---|
| 1 | `report`: one row for each that was read, so that none counts twice |
|   | `source`: its rows, summed up by day, source and how the messages fared |
|   | `tls`: its sessions by policy, and with `result` its failures |
|   | `seen(kind, day, domain, what, count)`: what our own next reports will say; `what` is JSON |
|   | `sent(kind, day, domain, at, outcome)`: which of them were made, and what became of them |
"""

import sqlite3
from pathlib import Path

from mailserver.store.files import DISK, Files
from mailserver.store.journal_format import open_for_writing

FILE_NAME = "reports.sqlite3"
# "MSR1".
APPLICATION_ID = 0x4D535231

_CREATE = """
CREATE TABLE report (
    number INTEGER PRIMARY KEY, kind TEXT NOT NULL, domain TEXT NOT NULL, reporter TEXT NOT NULL,
    report_id TEXT NOT NULL, proven TEXT NOT NULL, begin INTEGER NOT NULL, "end" INTEGER NOT NULL,
    received REAL NOT NULL, policy TEXT NOT NULL,
    UNIQUE (kind, domain, reporter, report_id, proven)
);
CREATE INDEX report_by_end ON report ("end");
CREATE TABLE source (
    report INTEGER NOT NULL REFERENCES report (number) ON DELETE CASCADE, day INTEGER NOT NULL, source TEXT NOT NULL,
    count INTEGER NOT NULL, disposition TEXT NOT NULL, dkim INTEGER NOT NULL, spf INTEGER NOT NULL,
    header_from TEXT NOT NULL, dkim_domains TEXT NOT NULL, spf_domains TEXT NOT NULL
);
CREATE INDEX source_of_report ON source (report);
CREATE TABLE tls (
    report INTEGER NOT NULL REFERENCES report (number) ON DELETE CASCADE, day INTEGER NOT NULL, kind TEXT NOT NULL,
    successes INTEGER NOT NULL, failures INTEGER NOT NULL, result TEXT NOT NULL, host TEXT NOT NULL,
    count INTEGER NOT NULL, reason TEXT NOT NULL
);
CREATE INDEX tls_of_report ON tls (report);
CREATE TABLE seen (
    kind TEXT NOT NULL, day INTEGER NOT NULL, domain TEXT NOT NULL, what TEXT NOT NULL, count INTEGER NOT NULL,
    PRIMARY KEY (kind, day, domain, what)
) WITHOUT ROWID;
CREATE TABLE sent (
    kind TEXT NOT NULL, day INTEGER NOT NULL, domain TEXT NOT NULL, at REAL NOT NULL, outcome TEXT NOT NULL,
    PRIMARY KEY (kind, day, domain)
) WITHOUT ROWID;
"""
STEPS: tuple[str, ...] = (_CREATE,)


def reports_path(state: Path) -> Path:
    """Where the reports of a state folder are."""
    return state / FILE_NAME


def open_reports(path: Path, files: Files = DISK) -> sqlite3.Connection:
    """The file, made or brought up to date if need be. Raises as `journal_format.open_for_writing` does."""
    connection = open_for_writing(path, STEPS, files, APPLICATION_ID)
    connection.execute("PRAGMA foreign_keys = ON")
    return connection
