"""A large content whose first fields are known only at its end: they are written over what kept their place."""

from dataclasses import replace

import pytest

from mailserver.ports import Filed, StorageTrouble
from mailserver.store.large import Place
from tests.store.test_commit import CONTENT, Disk, acceptance, copy, large, queue_id

ROOM = b"\0" * 40 + b"\r\n" + b"\0" * 20 + b"\r\nReceived: from here\r\n\tby there\r\n"
KNOWN = (
    b"X-First: ".ljust(40, b"x")
    + b"\r\n"
    + b"\tand more".ljust(20, b"y")
    + b"\r\nReceived: from here\r\n\tby there\r\n"
)


def completed(disk, given):
    """The content behind its room, then completed; with the acceptance as it is committed."""
    content = large(disk, replace(given, received=ROOM))
    content.complete(KNOWN)
    return replace(given, received=KNOWN), content


@pytest.mark.parametrize(
    ("local", "remote", "faults", "place"),
    [
        (("alice",), (), (), Place.MAILDIR),
        (("alice", "bob"), ("x@far.example",), (), Place.MAILDIR),
        ((), ("x@far.example",), (), Place.SPOOL),
        (("alice",), (), (("create", "/alice/"),), Place.LOOSE),
    ],
)
def test_every_copy_has_the_fields_that_were_known_at_the_end(tmp_path, local, remote, faults, place):
    disk = Disk(tmp_path, *faults, times=99)
    given, content = completed(disk, acceptance(*local, remote=remote))
    assert content.place is place
    (result,) = disk.writer.commit([(given, content)])
    assert isinstance(result, Filed)
    for name in () if faults else local:
        expected = (copy(name).trace + KNOWN + CONTENT).replace(b"\r\n", b"\n")
        assert disk.new(name) == [expected]
        (path,) = (tmp_path / "maildirs/example.org" / name / "new").iterdir()
        assert f",S={len(expected)},W={len(expected) + expected.count(10)}" in path.name
    if remote or faults:
        assert disk.spool()[queue_id(1)][1] == KNOWN + CONTENT
    assert disk.leftovers() == []


def test_trouble_while_completing_is_told_by_the_commit_and_leaves_nothing(tmp_path):
    disk = Disk(tmp_path, ("write_at", "/alice/"))
    given, content = completed(disk, acceptance("alice"))
    (result,) = disk.writer.commit([(given, content)])
    assert isinstance(result, StorageTrouble)
    assert disk.new("alice") == [] and disk.spool() == {}
    assert disk.leftovers() == []
