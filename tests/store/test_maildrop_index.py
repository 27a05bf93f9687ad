"""The index beside a Maildir: read with tolerance, replaced atomically, refused when newer."""

import pytest

from mailserver.ports import StorageTrouble
from mailserver.store.files import Files
from mailserver.store.maildrop_index import MaildropIndex, read_index, write_index
from tests.fakes.disk import FaultyFiles


def written(folder, text):
    (folder / "mailserver-index").write_bytes(text)
    return read_index(str(folder))


def test_what_is_written_is_read(tmp_path):
    index = MaildropIndex({"1700000000.1.host,S=5": 7, "a b": 1, "gr\u00fcn": 2, "\udcff": 3}, {"x": "id-1"})
    write_index(Files(), str(tmp_path), index)
    assert read_index(str(tmp_path)) == index
    assert (tmp_path / "mailserver-index").stat().st_mode & 0o777 == 0o600


def test_a_name_with_a_line_feed_is_not_remembered(tmp_path):
    write_index(Files(), str(tmp_path), MaildropIndex({"a\nw 5 b": 1, "c": 2}))
    assert read_index(str(tmp_path)).sizes == {"c": 2}


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        (b"", {}),
        (b"\0\0\0\0", {}),  # a file that a power cut left empty or full of zeros
        (b"something else\nw 5 a\n", {}),
        (b"mailserver-index x\nw 5 a\n", {}),
        (b"mailserver-index 1", {}),
        (b"mailserver-index 1\nw 5 a\nw -5 b\nw 1_0 c\nw  d\nw 6\nz 1 e\nw 7 f g\n", {"a": 5, "f g": 7}),
        (b"mailserver-index 1\nw 5 a\r\x0b\nw 6 b", {"a\r\x0b": 5, "b": 6}),  # only LF ends a line
    ],
)
def test_lines_that_do_not_fit_are_ignored(tmp_path, text, sizes):
    assert written(tmp_path, text).sizes == sizes


def test_bad_unique_ids_are_ignored(tmp_path):
    text = b"mailserver-index 1\nu ok-1 a\nu " + b"x" * 71 + b" b\nu \xff c\n"
    assert written(tmp_path, text).unique_ids == {"a": "ok-1"}


def test_a_newer_version_is_refused_and_named(tmp_path):
    with pytest.raises(StorageTrouble, match="version 2"):
        written(tmp_path, b"mailserver-index 2\n")


def test_a_write_that_fails_leaves_the_old_index_and_no_rubbish(tmp_path):
    write_index(Files(), str(tmp_path), MaildropIndex({"a": 1}))
    with pytest.raises(OSError):
        write_index(FaultyFiles(("write", "mailserver-index")), str(tmp_path), MaildropIndex({"a": 2}))
    assert read_index(str(tmp_path)).sizes == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["mailserver-index"]


def test_what_a_crash_left_is_removed_by_the_next_write(tmp_path):
    (tmp_path / "mailserver-index.99.1").write_bytes(b"half")
    write_index(Files(), str(tmp_path), MaildropIndex())
    assert [path.name for path in tmp_path.iterdir()] == ["mailserver-index"]
