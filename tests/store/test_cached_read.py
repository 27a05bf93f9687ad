"""Reading what is in memory and nothing else. Each answer may be None on file systems that cannot tell; never wrong."""

import os

import pytest

from mailserver.store.cached_read import MOST_OCTETS, CachedReader


@pytest.fixture
def reader():
    return CachedReader()


@pytest.mark.parametrize("octets", [b"", b"one\n", b"\x00\xff" * 2000, b"y" * MOST_OCTETS])
def test_what_was_just_written_is_read_where_the_machine_can_tell(reader, tmp_path, octets):
    path = tmp_path / "t\u00f6ny"
    path.write_bytes(octets)
    found = reader.read(str(path))
    assert found == (octets if reader.is_able else None)


def test_the_octets_of_one_file_are_not_those_of_the_next(reader, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(name.encode() * 100)
    first, second = (reader.read(str(tmp_path / name)) for name in ("a", "b"))
    assert [first, second] == ([b"a" * 100, b"b" * 100] if reader.is_able else [None, None])


def test_what_is_not_there_not_a_file_or_too_large_is_not_read(reader, tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "large").write_bytes(b"x" * (MOST_OCTETS + 1))
    os.mkfifo(tmp_path / "pipe")
    for name in ("nothing", "link", "large", "pipe", ".", "file/x"):
        assert reader.read(str(tmp_path / name)) is None, name


def test_what_is_on_disk_only_is_left_to_a_thread(reader, tmp_path):
    """Where the kernel has dropped the octets; whether it does when asked is its own affair."""
    path = tmp_path / "file"
    path.write_bytes(b"x" * 20_000)
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)
    assert reader.read(str(path)) in (None, b"x" * 20_000)


def test_no_descriptor_is_left_open(reader, tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    os.mkfifo(tmp_path / "pipe")
    before = os.listdir("/proc/self/fd")
    for name in ("file", "pipe", ".") * 3:
        reader.read(str(tmp_path / name))
    assert os.listdir("/proc/self/fd") == before


def test_a_kernel_that_does_not_know_the_call_is_asked_once(reader, tmp_path, monkeypatch):
    from mailserver.store import cached_read

    monkeypatch.setattr(cached_read, "_SYS_OPENAT2", 99_999)
    (tmp_path / "file").write_bytes(b"x")
    assert reader.read(str(tmp_path / "file")) is None
    assert not reader.is_able
