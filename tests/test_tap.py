"""Options, and what `makeService` refuses; what needs a process of its own is in tests/integration/test_start.py."""

import pytest
from twisted.python import usage

from mailserver.tap import Options, makeService


def test_options_are_values():
    options = Options()
    options.parseOptions(["--config", "x.toml"])
    assert options["config"] == "x.toml"
    assert Options()["config"] is None


def test_the_examples_stand_in_the_usage_as_they_were_written():
    text = str(Options())
    assert "\n  twistd -n mailserver --config my.toml         with another configuration\n" in text
    assert "etc/mailserver.toml, /etc/mailserver/mailserver.toml" in text
    assert "SIGHUP" in text


def test_an_unknown_option_is_a_usage_error():
    with pytest.raises(usage.UsageError):
        Options().parseOptions(["--nonsense"])


def test_the_version_is_the_servers(capsys):
    with pytest.raises(SystemExit):
        Options().parseOptions(["--version"])
    assert capsys.readouterr().out.startswith("mailserver 0.")


def test_a_configuration_error_is_one_text_with_our_name_before_each_line(tmp_path):
    path = tmp_path / "mailserver.toml"
    path.write_text("hostname = 3\nnonsense = 1\n")
    options = Options()
    options.parseOptions(["--config", str(path)])
    with pytest.raises(SystemExit) as refused:
        makeService(options)
    lines = str(refused.value).splitlines()
    assert len(lines) >= 2
    assert all(line.startswith(f"mailserver: {path}: ") for line in lines)
