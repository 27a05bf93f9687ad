"""What is remembered of other servers: on disk, in bounds, in nobody's way."""

import errno

import pytest

from mailserver.maillog import Trouble
from mailserver.ports import PeerTls
from mailserver.relay.peer_history import MAX_HOSTS, PeerHistory
from mailserver.store.files import Files
from mailserver.store.spool_json import Damaged, NewerFormat
from mailserver.store.tls_history import TLS_HISTORY_VERSION, TlsHistoryFile, decode, encode
from tests.fakes.awaiting import run
from tests.fakes.blocking import DirectBlocking
from tests.fakes.clock import FakeClock

ONE = PeerTls("TLSv1.3", 1_750_000_000.0)
OTHER = PeerTls("", 1_750_000_000.5, 3.0, 4.0)


class World:
    def __init__(self, folder):
        self.clock = FakeClock()
        self.events = []
        self.file = TlsHistoryFile(folder, Files())
        self.history = self.begin()

    def begin(self):
        history = PeerHistory(self.file, DirectBlocking(), self.clock, self.events.append)
        history.load()
        return history


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_it_is_written_a_minute_later_and_read_at_the_next_start(world):
    assert world.history.tls("mx.test") is None
    world.history.remember_tls("mx.test", ONE)
    world.history.remember_tls("other.test", OTHER)
    assert world.history.tls("mx.test") == ONE
    world.clock.advance(59)
    assert not world.file.path.exists()
    world.clock.advance(2)
    assert world.file.path.stat().st_mode & 0o777 == 0o600
    later = world.begin()
    assert (later.tls("mx.test"), later.tls("other.test")) == (ONE, OTHER)
    assert world.events == []


def test_a_stop_writes_what_waits(world):
    world.history.remember_tls("mx.test", ONE)
    run(world.history.stop())
    assert world.begin().tls("mx.test") == ONE
    assert not world.clock.twisted.getDelayedCalls()


def test_the_hosts_heard_of_longest_ago_go_first(world):
    for number in range(MAX_HOSTS + 10):
        world.history.remember_tls(f"mx{number}.test", ONE)
        world.history.remember_tls("mx0.test", ONE)
    assert world.history.tls("mx1.test") is None and world.history.tls("mx0.test") == ONE


def test_a_damaged_file_is_set_aside_and_told(world):
    world.file.path.write_bytes(b'{"version": 1, "hosts": [["mx.test", 3]]}')
    assert world.begin().tls("mx.test") is None
    (told,) = world.events
    assert isinstance(told, Trouble) and "damaged" in told.line()
    assert not world.file.path.exists() and world.file.path.with_name("tls-history.json.damaged").exists()


def test_a_newer_file_is_left_alone_and_told(world):
    newer = encode({}).replace(b'"version": 1', b'"version": 2, "more": true')
    world.file.path.write_bytes(newer)
    history = world.begin()
    history.remember_tls("mx.test", ONE)
    run(history.stop())
    world.clock.advance(100)
    assert history.tls("mx.test") == ONE
    assert world.file.path.read_bytes() == newer and len(world.events) == 1


def test_a_full_disk_is_told_once_and_tried_again(world, monkeypatch):
    def full(hosts):
        raise OSError(errno.ENOSPC, "No space left on device")

    good = world.file.write
    world.file.write = full
    world.history.remember_tls("mx.test", ONE)
    world.clock.advance(61)
    world.clock.advance(61)
    assert len(world.events) == 1 and "No space" in world.events[0].line()
    world.file.write = good
    world.clock.advance(61)
    assert world.begin().tls("mx.test") == ONE


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"[]",
        b'{"version": 0, "hosts": []}',
        b'{"version": 1}',
        b'{"version": 1, "hosts": {}}',
        b'{"version": 1, "hosts": [], "more": 1}',
        b'{"version": 1, "hosts": [["", "TLSv1.3", 1.0, 0.0, 0.0]]}',
        b'{"version": 1, "hosts": [["mx.test", "TLSv1.3", "x", 0.0, 0.0]]}',
        b'{"version": 1, "hosts": [["mx.test", "TLSv1.3", 1.0, 0.0]]}',
        b'{"version": 1, "hosts": [["' + b"x" * 300 + b'", "TLSv1.3", 1.0, 0.0, 0.0]]}',
        b'{"version": 1, "hosts": []}' + b" " * (16 << 20),
    ],
)
def test_what_is_no_such_file_is_damaged(octets):
    with pytest.raises(Damaged):
        decode(octets)


def test_the_format():
    hosts = {"mx.test": ONE, "other.test": OTHER}
    octets = encode(hosts)
    assert octets.split(b"\n")[2] == b'["mx.test", "TLSv1.3", 1750000000.0, 0.0, 0.0],'
    assert decode(octets) == hosts and decode(encode({})) == {}
    with pytest.raises(NewerFormat):
        decode(octets.replace(b'"version": 1', b'"version": %d' % (TLS_HISTORY_VERSION + 1)))
