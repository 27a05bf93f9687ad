"""Units and samples follow from where things are."""

from dataclasses import replace
from pathlib import Path

import pytest

from mailserver.setup.layout import lab_layout, system_layout
from mailserver.setup.listening import ALL, Ports
from mailserver.setup.machine_files import Program, machine_files, shipped
from mailserver.setup.values import Here

PROGRAM = Program(Path("/opt/mailserver/bin/twistd"), "alice")
PORTS = Ports((), Here())


def unit(layout, *, ports=PORTS, webroot=""):
    found = {file.path.name: file.text for file in machine_files(layout, PROGRAM, ports, webroot)}
    return found["mailserver.service"]


def lines(text, key):
    return [line for line in text.splitlines() if line.startswith(key)]


def test_in_the_systems_places_the_unit_is_the_shipped_one():
    text = unit(system_layout())
    assert (
        text[text.index("[Unit]") :] == shipped("mailserver.service")[shipped("mailserver.service").index("[Unit]") :]
    )


def test_a_lab_runs_as_who_made_it(tmp_path):
    text = unit(lab_layout(tmp_path))
    assert lines(text, "User=") == ["User=alice"]
    assert f"--config {tmp_path}/etc/mailserver.toml" in text
    assert lines(text, "ReadWritePaths=") == [f"ReadWritePaths={tmp_path}"]
    in_force = "".join(line for line in text.splitlines() if not line.startswith("#"))
    assert "/var/lib/mailserver" not in in_force and "/var/spool" not in in_force


@pytest.mark.parametrize(
    ("layout", "webroot", "writes"),
    [
        (system_layout(), "", "-/var/spool/mailserver-drop"),
        (
            system_layout(),
            "/var/www/html",
            "-/var/www/html/.well-known/acme-challenge -/var/spool/mailserver-drop",
        ),
        (replace(system_layout(), maildirs=Path("/srv/mail")), "", "-/srv/mail -/var/spool/mailserver-drop"),
    ],
)
def test_the_unit_lets_the_server_write_where_it_has_to(layout, webroot, writes):
    assert lines(unit(layout, webroot=webroot), "ReadWritePaths=") == [f"ReadWritePaths={writes}"]


def test_a_socket_for_each_service():
    files = {
        file.path.name: file.text for file in machine_files(system_layout(), PROGRAM, replace(PORTS, uses_sockets=True))
    }
    for service, port in ALL.items():
        text = files[f"mailserver-{service}.socket"]
        assert f"ListenStream={port}\n" in text and f"FileDescriptorName={service}\n" in text
        assert "@" not in text
    (sockets,) = lines(files["mailserver.service"], "Sockets=")
    assert len(sockets.split()) == len(ALL)
