"""`mailserver doctor`: what needs no reactor; the rest is in tests/integration."""

from mailserver.cli.doctor import _sentence, _shortened
from mailserver.doctor.check import failed, passed, skipped, warned


def test_a_check_that_does_not_exist_is_asked_the_wrong_way(command):
    result = command("doctor", "--only", "health")
    assert result.exit_code == 2
    assert "there is no check 'health'; there are server, listeners, " in result.stderr


def test_a_configuration_that_is_wrong_is_refused(command):
    command.config.write_text("hostname = 7\n")
    assert "hostname: 7" in command.refused("doctor")


def test_much_that_is_well_is_one_line():
    records = [passed("dns", "right", f"TXT {number}") for number in range(12)]
    found = [passed("server", "it runs"), *records[:5], failed("dns", "wrong", "mend it", "MX"), *records[5:]]
    assert [(one.name, one.finding) for one in _shortened(found)] == [
        ("server", "it runs"),
        ("dns", "12 are as they should be"),
        ("dns", "wrong"),
    ]


def test_the_last_line_counts():
    found = [passed("a", ""), passed("b", ""), warned("c", "", "x"), failed("d", "", "x"), skipped("e", "")]
    assert _sentence(found) == "2 pass, 1 warn, 1 fail, 1 skip"
