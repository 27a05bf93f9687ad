"""Junk that had to wait is filed as junk, where its mailbox wants it, after a restart too."""

from mailserver.ports import LocalMailboxes, StorageTrouble
from tests.fakes.directory import box
from tests.fakes.relay import Office


def test_what_waited_is_filed_where_junk_goes(tmp_path):
    office = Office(tmp_path)
    for is_junk in (True, False):
        office.put("alice@example.org", "bob@example.org", is_junk=is_junk)
    office.settle()
    assert [box_ for box_, _ in office.mailboxes.filed] == ["alice@example.org", "bob@example.org"] * 2
    assert office.mailboxes.folders == ["Junk", "", "", ""]
    assert [event.folder for event in office.events if event.word == "filed"] == ["Junk", "", "", ""]


def test_the_verdict_outlives_the_process_and_goes_through_an_alias(tmp_path):
    office = Office(tmp_path)
    office.local["team@example.org"] = LocalMailboxes((box("alice@example.org"), box("bob@example.org")))
    office.mailboxes.trouble = {"alice@example.org": StorageTrouble("no disk")}
    office.put("alice@example.org", "team@example.org", is_junk=True)
    office.settle()
    office.restart()
    office.mailboxes.trouble = {}
    for _ in range(20):
        office.advance(400)
    found = sorted(zip((box_ for box_, _ in office.mailboxes.filed), office.mailboxes.folders, strict=True))
    assert found == [("alice@example.org", "Junk"), ("alice@example.org", "Junk"), ("bob@example.org", "")]
