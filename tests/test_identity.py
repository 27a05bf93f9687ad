"""Acting as another user. Root really changes; anybody else keeps who he is, and the same code runs."""

import os
import pwd

from mailserver.identity import Identity, acting_as, identity_to_be

NOBODY = pwd.getpwnam("nobody")


def test_without_uid_or_gid_the_process_stays_who_it_is():
    assert identity_to_be({"uid": None, "gid": None}) is None
    assert identity_to_be({}) is None


def test_who_is_not_root_stays_who_he_is(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert identity_to_be({"uid": 33, "gid": 33}) is None


def test_root_becomes_the_user_with_its_own_group_unless_one_is_named(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert identity_to_be({"uid": NOBODY.pw_uid, "gid": None}) == Identity(NOBODY.pw_uid, NOBODY.pw_gid)
    assert identity_to_be({"uid": NOBODY.pw_uid, "gid": 12}) == Identity(NOBODY.pw_uid, 12)
    assert identity_to_be({"uid": None, "gid": 12}) == Identity(0, 12)


def test_files_made_meanwhile_belong_to_that_user_and_root_is_root_again_after_it(tmp_path):
    is_root = os.geteuid() == 0
    who = Identity(NOBODY.pw_uid, NOBODY.pw_gid) if is_root else None
    before = (os.geteuid(), os.getegid(), sorted(os.getgroups()))
    descriptor = os.open(tmp_path, os.O_RDONLY)
    if is_root:
        os.chown(tmp_path, NOBODY.pw_uid, NOBODY.pw_gid)
    with acting_as(who):
        # By descriptor: pytest's folders are closed to other users.
        os.close(os.open("made", os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=descriptor))
    os.close(descriptor)
    assert (os.geteuid(), os.getegid(), sorted(os.getgroups())) == before
    status = (tmp_path / "made").stat()
    assert (status.st_uid, status.st_gid) == ((NOBODY.pw_uid, NOBODY.pw_gid) if is_root else before[:2])


def test_after_an_exception_root_is_root_again():
    before = os.geteuid()
    who = Identity(NOBODY.pw_uid, NOBODY.pw_gid) if before == 0 else None
    try:
        with acting_as(who):
            raise KeyError
    except KeyError:
        assert os.geteuid() == before


def test_a_user_without_an_entry_is_possible():
    if os.geteuid() == 0:
        with acting_as(Identity(54321, 54321)):
            assert (os.geteuid(), os.getegid(), os.getgroups()) == (54321, 54321, [54321])
    assert os.geteuid() != 54321


def test_a_file_that_is_not_there_cannot_be_given_away(tmp_path):
    Identity(os.geteuid(), os.getegid()).own(tmp_path / "none")
    (tmp_path / "some").write_text("")
    Identity(os.geteuid(), os.getegid()).own(tmp_path / "some")
