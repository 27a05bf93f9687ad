"""When the last backup was made."""

import pytest

from mailserver.store.last_backup import last_backup, note_backup


def test_what_is_noted_is_read_again(tmp_path):
    assert last_backup(tmp_path) is None
    (tmp_path / "last-backup.json.new").write_text("left by a crash")
    note_backup(tmp_path, tmp_path / "ü", 1_750_000_000.25)
    assert last_backup(tmp_path) == 1_750_000_000.25
    note_backup(tmp_path, tmp_path, 1_750_000_001.0)
    assert last_backup(tmp_path) == 1_750_000_001.0
    assert [path.name for path in tmp_path.iterdir()] == ["last-backup.json"]


@pytest.mark.parametrize("octets", [b"", b"[]", b'{"version": 1}', b'{"version": 1, "made_at": "today"}'])
def test_what_is_damaged_is_as_if_it_were_not_there(tmp_path, octets):
    (tmp_path / "last-backup.json").write_bytes(octets)
    assert last_backup(tmp_path) is None


def test_a_newer_form_still_tells_when(tmp_path):
    (tmp_path / "last-backup.json").write_bytes(b'{"version": 9, "made_at": 5.0, "more": []}')
    assert last_backup(tmp_path) == 5.0
