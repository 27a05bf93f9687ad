"""What is wrong with twistd's own files is said before anything is opened."""

import os

import pytest

from mailserver.tap import Options, makeService
from mailserver.twistd_files import trouble_with_twistd_files


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"pidfile": "twistd.pid"},
        {"pidfile": "", "nodaemon": True},
        {"pidfile": "", "logfile": "-", "nodaemon": True},
        {"pidfile": "x.pid", "logfile": "x.log"},
        {"syslog": True},
    ],
)
def test_files_that_can_be_written_are_no_trouble(folder, options):
    assert trouble_with_twistd_files(options) == ""


def test_a_missing_folder_is_named_for_each_file(folder):
    assert trouble_with_twistd_files({"pidfile": "run/x.pid", "logfile": "log/x.log"}).splitlines() == [
        f"--logfile: {folder}/log/x.log: the folder {folder}/log does not exist; make it, or name another place",
        f"--pidfile: {folder}/run/x.pid: the folder {folder}/run does not exist; make it, or name another place, "
        "or none with --pidfile=",
    ]


def test_the_pid_file_is_looked_for_where_twistd_will_be(folder):
    (folder / "elsewhere" / "run").mkdir(parents=True)
    options = {"pidfile": "run/x.pid", "rundir": "elsewhere", "nodaemon": True}
    assert trouble_with_twistd_files(options) == ""
    assert trouble_with_twistd_files({**options, "rundir": "."})
    assert trouble_with_twistd_files({**options, "rundir": ".", "chroot": "/srv"}) == ""


def test_a_folder_in_place_of_the_file_is_told(folder):
    (folder / "log").mkdir()
    assert trouble_with_twistd_files({"logfile": "log"}) == (
        f"--logfile: {folder}/log: this is a folder; name another place"
    )


def test_a_folder_that_is_not_ours_is_told_with_twistds_defaults(folder):
    if os.geteuid() == 0:
        return  # root may write everywhere
    folder.chmod(0o555)
    lines = trouble_with_twistd_files({"pidfile": "twistd.pid"}).splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"--logfile: {folder}/twistd.log: cannot be written by user ")
    assert len(trouble_with_twistd_files({"pidfile": "twistd.pid", "nodaemon": True}).splitlines()) == 1


def test_the_server_refuses_to_start_in_words(folder):
    (folder / "mailserver.toml").write_text(
        'hostname = "mail.example.test"\ndomains = ["example.test"]\npostmaster = "a@example.test"\n'
    )
    options = Options()
    options.parseOptions(["--config", "mailserver.toml"])
    options.parent = {"pidfile": "missing/x.pid", "nodaemon": True}
    with pytest.raises(SystemExit, match=r"^mailserver: --pidfile: .*/missing does not exist"):
        makeService(options)
