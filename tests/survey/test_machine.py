"""What the kernel says, from texts and octets like its own; and once from the kernel that is there."""

import socket
import struct

import pytest

from mailserver.survey.machine import LinuxMachine, read_address
from mailserver.survey.values import TakenPort
from tests.fakes.world import ip

TCP = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0019 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0
   1: 0100007F:0035 00000000:0000 0A 00000000:00000000 00:00000000 00000000   101        0 4712 1 0 100 0 0 10 0
   2: 0A000002:01BB 08080808:C350 01 00000000:00000000 00:00000000 00000000     0        0 4713 1 0 100 0 0 10 0
"""
TCP6 = """  sl  local_address                         remote_address                        st tx_queue rx_queue tr
   0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 0:0 00:0 0 33 0 4714 1 0
 short line
"""


@pytest.fixture
def proc(tmp_path):
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "tcp").write_text(TCP)
    (tmp_path / "net" / "tcp6").write_text(TCP6)
    for number, name, inode in ((812, "exim4", 4711), (900, "unbound", 4712)):
        folder = tmp_path / str(number)
        (folder / "fd").mkdir(parents=True)
        (folder / "comm").write_text(f"{name}\n")
        (folder / "fd" / "3").symlink_to(f"socket:[{inode}]")
        (folder / "fd" / "4").symlink_to("/dev/null")
    (tmp_path / "901").mkdir()
    (tmp_path / "self").mkdir()
    return LinuxMachine(tmp_path)


def test_ports_somebody_listens_on_are_taken_and_connections_are_not(proc):
    assert proc.taken_ports((25, 53, 80, 443, 587)) == (
        TakenPort(25, "exim4 (process 812)"),
        TakenPort(53, "unbound (process 900)"),
        TakenPort(80),
    )
    assert proc.taken_ports((587,)) == ()


def test_without_proc_nothing_is_known(tmp_path):
    assert LinuxMachine(tmp_path / "none").taken_ports((25,)) == ()


def test_where_the_clock_may_not_be_asked_the_mark_of_the_time_service_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(LinuxMachine, "_adjtimex", lambda self: None)
    mark = tmp_path / "synchronized"
    assert LinuxMachine(synchronized=mark).is_clock_synchronized() is None
    mark.touch()
    assert LinuxMachine(synchronized=mark).is_clock_synchronized() is True


def message(address, *, attribute=1, flags=0, long_flags=None, local=None):
    octets = ip(address).packed
    body = struct.pack("=BBBBI", 2 if len(octets) == 4 else 10, 24, flags & 0xFF, 0, 1)
    body += struct.pack("=HH", 4 + len(octets), attribute) + octets
    if local is not None:
        body += struct.pack("=HH", 8, 2) + ip(local).packed
    # A name of five octets, so that what follows is padded.
    body += struct.pack("=HH", 9, 3) + b"eth0\0" + b"\0" * 3
    if long_flags is not None:
        body += struct.pack("=HHI", 8, 8, long_flags)
    return body


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (message("203.0.114.7"), "203.0.114.7"),
        (message("2a00::25"), "2a00::25"),
        # On a point-to-point link the address is the other side's, and the local one is ours.
        (message("10.0.0.1", local="10.0.0.2"), "10.0.0.2"),
        (message("2a00::25", flags=0x01), None),
        (message("2a00::25", long_flags=0x21), None),
        (message("2a00::25", flags=0x80, long_flags=0x80), "2a00::25"),
        # Secondary addresses of IPv4 have the same bit as temporary ones of IPv6.
        (message("203.0.114.8", flags=0x01), "203.0.114.8"),
        (b"\x02\x18\x00\x00\x01\x00\x00\x00", None),
        (b"\x02\x18\x00\x00\x01\x00\x00\x00\x02\x00\x01\x00", None),
    ],
)
def test_addresses_that_are_steady_are_read(body, expected):
    assert read_address(body) == (ip(expected) if expected else None)


def test_this_machine_can_be_asked():
    machine = LinuxMachine()
    found = machine.interface_addresses()
    assert ip("127.0.0.1") in found
    assert len(set(found)) == len(found)
    for version in (4, 6):
        source = machine.source_address(version)
        assert source is None or source.version == version
    assert machine.is_clock_synchronized() in (True, False, None)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        (taken,) = machine.taken_ports((port,))
    assert taken.port == port
    assert "(process " in taken.by
