"""twistd finds the server however the package was installed, and nothing is shipped that should not be.

Run with `make test-packaging`: it builds, makes virtual environments and installs from the package index.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIMIT_S = 600


def run(*command, cwd=None, **environment):
    """The output of a command that must succeed. It sees neither the checkout nor the environment of the tests."""
    env = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd or "/",
        env={**env, **environment},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of what git would give a stranger: builds leave no trace in the real one."""
    folder = tmp_path_factory.mktemp("checkout") / "mailserver"
    listed = run(
        "git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT
    )
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def built(checkout, tmp_path_factory):
    """A wheel and a source distribution. A stale cache of twistd's lies in the way, as it does after a run."""
    (checkout / "twisted" / "plugins" / "dropin.cache").write_bytes(b"stale")
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", folder, checkout)
    return {path.suffix: path for path in folder.iterdir()}


def check(bin_folder):
    """What an installation must be able to do."""
    assert "A whole mail server" in run(bin_folder / "twistd", "--help")
    assert "--config" in run(bin_folder / "twistd", "mailserver", "--help")
    assert "account" in run(bin_folder / "mailserver", "--help")
    # What setup writes comes with the package.
    with tempfile.TemporaryDirectory() as lab:
        run(bin_folder / "mailserver", "setup", "example.org", "--offline", "--yes", "--directory", lab)
        unit = Path(lab, "systemd", "mailserver.service").read_text()
        # pipx has links to what it installed.
        started = Path(unit.partition("ExecStart=")[2].split()[0])
        assert started.samefile(bin_folder / "twistd")
        assert Path(lab, "samples", "fail2ban-filter.conf").is_file()


def environment(folder):
    run(sys.executable, "-m", "venv", folder)
    return folder / "bin"


def install(bin_folder, *arguments):
    run(bin_folder / "pip", "install", "--quiet", "--disable-pip-version-check", *arguments)


def test_from_a_plain_install(checkout, tmp_path):
    bin_folder = environment(tmp_path / "venv")
    install(bin_folder, checkout)
    check(bin_folder)


def test_from_an_editable_install(checkout, tmp_path):
    bin_folder = environment(tmp_path / "venv")
    install(bin_folder, "-e", checkout)
    check(bin_folder)
    # A file that is new in the checkout counts at once: it really is the checkout.
    (checkout / "mailserver" / "probe_of_the_tests.py").write_text("")
    run(bin_folder / "python", "-c", "import mailserver.probe_of_the_tests")
    (checkout / "mailserver" / "probe_of_the_tests.py").unlink()


def test_from_a_wheel(built, tmp_path):
    bin_folder = environment(tmp_path / "venv")
    install(bin_folder, built[".whl"])
    check(bin_folder)


def test_from_a_source_distribution(built, tmp_path):
    bin_folder = environment(tmp_path / "venv")
    install(bin_folder, built[".gz"])
    check(bin_folder)


def test_from_pipx_with_its_dependencies_commands(checkout, tmp_path):
    """Without `--include-deps` twistd would not be on the path."""
    pipx = shutil.which("pipx")
    assert pipx, "pipx is needed: apt install pipx"
    run(
        *(pipx, "install", "--python", sys.executable, "--include-deps", checkout),
        PIPX_HOME=str(tmp_path / "home"),
        PIPX_BIN_DIR=str(tmp_path / "bin"),
        PIPX_MAN_DIR=str(tmp_path / "man"),
    )
    check(tmp_path / "bin")


def test_the_wheel_holds_the_server_and_the_plugin_and_nothing_else(built):
    names = zipfile.ZipFile(built[".whl"]).namelist()
    assert "twisted/plugins/mailserver_plugin.py" in names
    assert "mailserver/tap.py" in names
    strangers = [
        name for name in names if name.split("/")[0] not in ("mailserver", "twisted") and ".dist-info/" not in name
    ]
    assert strangers == []
    assert [name for name in names if name.startswith("twisted/")] == ["twisted/plugins/mailserver_plugin.py"]
    assert not [name for name in names if "dropin.cache" in name or "__pycache__" in name]


def test_the_source_distribution_holds_what_a_stranger_needs(built):
    with tarfile.open(built[".gz"]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for name in (
        "README.md",
        "LICENSE",
        "Makefile",
        "etc/mailserver.toml",
        "etc/mailserver.service",
        "tests/__init__.py",
    ):
        assert name in names, name
    assert not [name for name in names if name.endswith("dropin.cache")]


def test_the_systemd_unit_is_right(tmp_path):
    """With the paths of this machine in place of those of an installation."""
    analyze = shutil.which("systemd-analyze")
    assert analyze, "systemd-analyze is needed: apt install systemd"
    text = (ROOT / "etc" / "mailserver.service").read_text()
    twistd = Path(sys.executable).with_name("twistd")
    assert "/opt/mailserver/bin/twistd" in text
    unit = tmp_path / "mailserver.service"
    text = text.replace("/opt/mailserver/bin/twistd", str(twistd))
    unit.write_text(text.replace("User=mailserver", "User=mail").replace("Group=mailserver", "Group=mail"))
    done = subprocess.run([analyze, "verify", str(unit)], capture_output=True, text=True, timeout=LIMIT_S)
    assert "mailserver.service" not in done.stdout + done.stderr
    assert done.returncode == 0, done.stderr
