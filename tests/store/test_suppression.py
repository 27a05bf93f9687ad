"""The suppression list: counting, its file, and what a crash leaves of it."""

import contextlib
import json

import pytest

from mailserver.mail.reply import Reply
from mailserver.store.files import Files
from mailserver.store.spool_json import Damaged, NewerFormat
from mailserver.store.suppression import MAX_COUNTED, WINDOW_S, SuppressionFile, SuppressionList
from tests.fakes.directory import box
from tests.store.test_spool_crash import DyingFiles, Killed

BOB = box("Bob@example.net")
NO = Reply(550, "5.1.1", ("no such user",))
DAY = 86400.0


def refuse(found, *moments, mailbox=BOB):
    return [found.refused(mailbox, f"Q{n}", NO, "mx.example.net", at) for n, at in enumerate(moments)]


def test_the_third_refusal_within_thirty_days_lists():
    found = SuppressionList(3, 7 * DAY)
    first, second, third = refuse(found, 0.0, DAY, 2 * DAY)
    assert (first, second) == (None, None)
    assert (third.address, third.since, third.until, third.reply) == ("bob@example.net", 2 * DAY, 9 * DAY, NO)
    assert found.entry(box("bob@Example.Net"), 3 * DAY) == third
    assert found.entry(BOB, 9 * DAY) is None
    assert found.counted(3 * DAY) == []


def test_one_message_counts_once_and_old_refusals_do_not():
    found = SuppressionList(2, DAY)
    assert found.refused(BOB, "Q", NO, "", 0.0) is None
    assert found.refused(BOB, "Q", NO, "", 5.0) is None
    assert found.refused(BOB, "R", NO, "", 6.0 + WINDOW_S) is None
    assert len(found.counted(6.0 + WINDOW_S)[0].refusals) == 1


def test_a_delivery_begins_anew_and_off_is_off():
    found = SuppressionList(2, DAY)
    refuse(found, 0.0)
    assert found.accepted(BOB)
    assert not found.accepted(BOB)
    assert refuse(found, 1.0) == [None]
    assert refuse(SuppressionList(0, DAY), 1.0, 2.0, 3.0) == [None] * 3


def test_by_hand():
    found = SuppressionList(3, DAY)
    found.add(BOB, "eva", "left the firm", 5.0)
    assert found.entry(BOB, 1e12).reason == "left the firm"
    assert found.remove(BOB)
    assert not found.remove(BOB)
    refuse(found, 1.0)
    assert found.remove(BOB)


def test_counts_are_bounded():
    found = SuppressionList(3, DAY)
    for number in range(MAX_COUNTED + 5):
        refuse(found, 1.0, mailbox=box(f"a{number}@example.net"))
    assert len(found.counted(2.0)) == MAX_COUNTED


def test_the_file_is_read_back_and_has_a_line_for_each(tmp_path):
    found = SuppressionList(2, DAY)
    refuse(found, 1.0, 2.0)
    refuse(found, 3.0, mailbox=box("eve@example.com"))
    found.add(box("\u00fc@example.org"), "eva", "why", 4.0)
    file = SuppressionFile(tmp_path, Files())
    file.write(found.encode(5.0))
    again = SuppressionList(2, DAY)
    file.read(again)
    assert again.listed(5.0) == found.listed(5.0)
    assert again.counted(5.0) == found.counted(5.0)
    assert sum(b'"address"' in line for line in file.path.read_bytes().splitlines()) == 3
    assert json.loads(file.path.read_bytes())["version"] == 1
    assert file.path.stat().st_mode & 0o777 == 0o600


def test_no_file_is_an_empty_list(tmp_path):
    found = SuppressionList(2, DAY)
    SuppressionFile(tmp_path, Files()).read(found)
    assert found.listed(0.0) == []


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"[]",
        b'{"version": 1, "listed": []}',
        b'{"version": 1, "listed": [], "counted": [], "more": 1}',
        b'{"version": 0, "listed": [], "counted": []}',
        b'{"version": 1, "listed": [{"address": "a@b"}], "counted": []}',
        b'{"version": 1, "listed": [{"address": "a@b", "since": 1, "until": 0, "by": "x", "reply": 5}], "counted": []}',
        b'{"version": 1, "listed": [5], "counted": []}',
        b'{"version": 1, "listed": [], "counted": [{"address": "a@b", "refusals": [["Q"]]}]}',
        b'{"version": 1, "listed": [], "counted": [{"address": "a@b"}]}',
    ],
)
def test_damage_is_seen_and_nothing_is_taken_up(octets):
    found = SuppressionList(2, DAY)
    found.add(BOB, "eva", "", 1.0)
    with pytest.raises(Damaged):
        found.decode(octets)
    assert found.entry(BOB, 2.0)


def test_a_newer_version_is_refused_with_a_clear_text():
    with pytest.raises(NewerFormat, match="format 2, and this release reads up to format 1"):
        SuppressionList(2, DAY).decode(b'{"version": 2, "what": "ever"}')


def test_a_kill_at_any_step_leaves_the_old_list_or_the_new_one(tmp_path):
    old, new = SuppressionList(2, DAY), SuppressionList(2, DAY)
    new.add(BOB, "eva", "", 1.0)
    for at in range(1, 7):
        for after in (False, True):
            files = DyingFiles()
            folder = tmp_path / f"{at}{after}"
            folder.mkdir()
            file = SuppressionFile(folder, files)
            file.write(old.encode(2.0))
            (folder / "suppression.json.new").write_bytes(b"left by a kill")
            files.die_at(at, after)
            with contextlib.suppress(Killed):
                file.write(new.encode(2.0))
            found = SuppressionList(2, DAY)
            SuppressionFile(folder, Files()).read(found)
            assert found.listed(2.0) in ([], new.listed(2.0))
            SuppressionFile(folder, Files()).write(new.encode(2.0))
