"""The file of reports: what is kept once, what goes, what a damaged file costs."""

import sqlite3
from dataclasses import replace

import pytest

from mailserver.mail.reports import DAY_S, DmarcReport
from mailserver.policy.reports.dmarc_read import read_dmarc
from mailserver.policy.reports.tls_read import read_tls
from mailserver.store import reports as reports_module
from mailserver.store.journal_format import JournalNewer, JournalUnavailable
from mailserver.store.reports import ReportStore, Seen
from mailserver.store.reports_format import reports_path
from mailserver.store.reports_read import ReportReader
from tests.policy.reports.samples import BEGIN, END, GOOGLE, MICROSOFT, TLS_GOOGLE

REPORT = read_dmarc(GOOGLE)
assert isinstance(REPORT, DmarcReport)
DAY = BEGIN // DAY_S
NOW = END + 7200.0


@pytest.fixture
def store(tmp_path):
    return ReportStore(reports_path(tmp_path))


def rows(store, since=0, domain=""):
    with ReportReader(store.path) as reader:
        return reader.rows(since, domain)


def test_a_report_is_kept_by_source(store):
    assert store.add(REPORT, "example.org", "google.com", NOW)
    first, second = rows(store)
    assert (first.source, first.count, first.day, first.dkim, first.spf) == ("192.0.2.7", 14, DAY, True, True)
    assert (first.dkim_domains, first.spf_domains, first.proven) == (("example.org",), ("example.org",), "google.com")
    assert (second.source, second.spf, second.spf_domains) == ("2001:db8::19", False, ("lists.example.net",))
    assert rows(store, DAY + 1) == rows(store, 0, "example.net") == []


def test_rows_that_fared_alike_are_one(store):
    many = replace(REPORT, rows=tuple(replace(REPORT.rows[0], envelope_from=f"{n}.example") for n in range(1000)))
    store.add(many, "example.org", "google.com", NOW)
    assert [row.count for row in rows(store)] == [14000]


def test_the_same_report_counts_once(store):
    assert store.add(REPORT, "example.org", "google.com", NOW)
    assert not store.add(REPORT, "example.org", "google.com", NOW + 60)
    assert store.add(replace(REPORT, report_id="2"), "example.org", "google.com", NOW)
    assert store.add(replace(REPORT, reporter="other"), "example.org", "google.com", NOW)
    assert len(rows(store)) == 6


def test_a_forged_report_does_not_keep_the_true_one_out(store):
    assert store.add(REPORT, "example.org", "", NOW)
    assert not store.add(REPORT, "example.org", "", NOW)
    assert store.add(REPORT, "example.org", "google.com", NOW)
    assert not store.add(REPORT, "example.org", "import", NOW)


def test_what_was_imported_is_not_counted_again_when_it_comes(store):
    assert store.add(REPORT, "example.org", "import", NOW)
    assert not store.add(REPORT, "example.org", "google.com", NOW)
    assert not store.add(REPORT, "example.org", "", NOW)


def test_reports_about_tls(store):
    report = read_tls(TLS_GOOGLE)
    assert store.add(report, "example.org", "google.com", NOW)
    with ReportReader(store.path) as reader:
        total, failure = reader.tls(DAY)
        [kept] = reader.reports("tls", 0)
        assert reader.reports("dmarc", 0) == []
    assert (total.successes, total.failures, total.result) == (20, 3, "")
    assert (failure.result, failure.count, failure.host) == ("certificate-expired", 3, "mail.example.org")
    assert kept.reporter == "Google Inc."


def test_failures_that_are_alike_are_one_and_there_is_an_end_to_them(store):
    report = read_tls(TLS_GOOGLE)
    [policy] = report.policies
    alike = [policy.details[0]] * 500
    others = [replace(policy.details[0], reason=str(number)) for number in range(1000)]
    many = replace(report, policies=(replace(policy, details=(*alike, *others)),) * 3)
    store.add(many, "example.org", "", NOW)
    with ReportReader(store.path) as reader:
        total, first, *rest = reader.tls(DAY)
    assert (total.successes, total.failures) == (60, 9)
    assert first.count == 3 * 500 * 3
    assert len(rest) == 199


def test_old_reports_go(store):
    store.add(REPORT, "example.org", "google.com", NOW)
    store.add(read_dmarc(MICROSOFT), "example.org", "microsoft.com", NOW)
    assert store.prune(END, 10**9) == 0
    assert store.prune(END + 1, 10**9) == 1
    assert [row.reporter for row in rows(store)] == ["Enterprise Outlook"]


def test_when_there_are_too_many_those_go_first_that_nobody_vouches_for(store, monkeypatch):
    monkeypatch.setattr(reports_module, "_SLICE", 1)
    store.add(REPORT, "example.org", "google.com", NOW)
    for number in range(300):
        store.add(replace(REPORT, report_id=str(number), begin=BEGIN + 1), "example.org", "", NOW)
    size = 60_000
    assert store.prune(0, size) > 0
    assert "google.com" in {row.proven for row in rows(store)}
    store.prune(0, 1)
    assert rows(store) == []


def test_a_flood_of_reports_does_not_fill_the_disk_until_somebody_prunes(tmp_path, monkeypatch):
    monkeypatch.setattr(reports_module, "_SLICE", 1)
    store = ReportStore(reports_path(tmp_path), max_octets=200_000)
    store.add(REPORT, "example.org", "google.com", NOW)
    many = tuple(replace(REPORT.rows[0], source=f"192.0.2.{number}", header_from="x" * 200) for number in range(200))
    for number in range(30):
        store.add(replace(REPORT, report_id=str(number), rows=many), "example.org", "", NOW)
    assert store.path.stat().st_size < 400_000
    assert "google.com" in {row.proven for row in rows(store)}


def test_counts_for_our_own_reports_do_not_push_out_what_others_told(store):
    store.add(REPORT, "example.org", "google.com", NOW)
    flood = {Seen("dmarc", DAY, f"d{number}.example", "x" * 400): 1 for number in range(1000)}
    store.count({**flood, Seen("dmarc", DAY, "honest.example", "x"): 50})
    store.prune(0, 200_000)
    assert len(rows(store)) == 2
    assert store.seen("dmarc", DAY, "honest.example") == [("x", 50)]
    assert len(store.due("dmarc", DAY + 1)) < 500


def test_pruning_makes_no_file(store):
    assert store.prune(0, 1) == 0
    assert store.due("dmarc", 10) == []
    assert not store.path.exists()


# --- our own ----------------------------------------------------------------------------------------------------------

SEEN = Seen("dmarc", 5, "example.net", '["a"]')


def test_counts_add_up_and_are_due_when_the_day_is_over(store):
    assert store.count({SEEN: 2, replace(SEEN, what="b"): 1}) == 0
    assert store.count({SEEN: 3}) == 0
    assert store.due("dmarc", 5) == []
    assert store.due("tls", 6) == []
    assert store.due("dmarc", 6) == [(5, "example.net")]
    assert store.seen("dmarc", 5, "example.net") == [('["a"]', 5), ("b", 1)]


def test_what_was_made_is_not_due_again(store):
    store.count({SEEN: 2})
    store.settle("dmarc", 5, "example.net", 6.1 * DAY_S, "sent to a@example.net")
    assert store.due("dmarc", 6) == []
    assert store.seen("dmarc", 5, "example.net") == []
    with sqlite3.connect(store.path) as connection:
        assert connection.execute("SELECT outcome FROM sent").fetchall() == [("sent to a@example.net",)]
    store.settle("dmarc", 50, "example.net", 51.0 * DAY_S, "sent")
    with sqlite3.connect(store.path) as connection:
        assert connection.execute("SELECT day FROM sent").fetchall() == [(50,)]


def test_one_domain_cannot_take_all_the_room(store, monkeypatch):
    monkeypatch.setattr(reports_module, "MAX_SEEN_OF_DOMAIN", 10)
    monkeypatch.setattr(reports_module, "MAX_SEEN", 15)
    counts = {Seen("dmarc", 5, "a.example", str(number)): 1 for number in range(30)}
    assert store.count(counts) == 20
    assert store.count({next(iter(counts)): 7}) == 0
    assert store.count({Seen("dmarc", 5, f"{number}.example", "x"): 2 for number in range(30)}) == 50
    assert store.count({Seen("dmarc", 6, "a.example", "x"): 2}) == 0


# --- trouble ----------------------------------------------------------------------------------------------------------


def test_a_damaged_file_is_set_aside(store):
    store.path.write_bytes(b"not a database, whatever it may look like" * 100)
    assert store.add(REPORT, "example.org", "", NOW)
    assert len(rows(store)) == 2
    assert store.path.with_name("reports.sqlite3.damaged").exists()


def test_a_file_of_a_later_release_is_left_alone(store):
    store.add(REPORT, "example.org", "", NOW)
    with sqlite3.connect(store.path) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(JournalNewer):
        store.add(REPORT, "example.org", "", NOW)


def test_the_journal_is_not_taken_for_it(tmp_path):
    from mailserver.store.journal import Journal

    Journal(reports_path(tmp_path)).close()
    store = ReportStore(reports_path(tmp_path))
    assert store.add(REPORT, "example.org", "", NOW)
    assert store.path.with_name("reports.sqlite3.damaged").exists()


def test_a_folder_that_is_not_there_is_a_trouble_with_a_text(tmp_path):
    with pytest.raises(JournalUnavailable):
        ReportStore(tmp_path / "gone" / "reports.sqlite3").add(REPORT, "example.org", "", NOW)


def test_a_file_with_mode_0600(store):
    store.add(REPORT, "example.org", "", NOW)
    assert store.path.stat().st_mode & 0o777 == 0o600
