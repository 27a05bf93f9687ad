"""The journal beside a real reactor: started, flushed through the control command, stopped."""

import pytest_twisted
from twisted.internet import reactor

from mailserver.maillog import Filed
from mailserver.net.clock import ReactorClock
from mailserver.net.journal import JournalFeed, journal_commands
from mailserver.store.control_socket import Request, Response
from mailserver.store.journal_facts import address_key
from mailserver.store.journal_read import JournalReader
from mailserver.store.journal_writer import JournalRules

ALICE = "alice@example.org"
FLUSH = Request("journal-flush")


def filed(number):
    return Filed(f"{number:013d}", ALICE, ALICE, f"1.M{number}P3Q4.h")


def count(path):
    with JournalReader(path) as reader:
        return len(list(reader.mentioning(address_key(ALICE))))


@pytest_twisted.ensureDeferred
async def test_a_flush_brings_the_last_second_and_a_stop_the_rest(tmp_path):
    path = tmp_path / "journal.sqlite3"
    told = []
    feed = JournalFeed(path, JournalRules(gather_s=60.0), ReactorClock(reactor), told.append, reactor.callFromThread)
    feed(filed(1))
    feed.start()
    for number in range(2, 500):
        feed(filed(number))
    assert await journal_commands(feed)["journal-flush"](FLUSH) == Response(count=1)
    assert count(path) == 499
    feed(filed(500))
    await feed.stop()
    assert count(path) == 500
    assert told == []


@pytest_twisted.ensureDeferred
async def test_trouble_is_told_in_the_reactors_thread(tmp_path):
    path = tmp_path / "missing" / "journal.sqlite3"
    told = []
    feed = JournalFeed(path, JournalRules(gather_s=0.0), ReactorClock(reactor), told.append, reactor.callFromThread)
    feed.start()
    feed(filed(1))
    assert not await feed.flush()
    await feed.stop()
    assert [event.what for event in told] == ["the journal"]


@pytest_twisted.ensureDeferred
async def test_a_feed_that_never_started_stops_at_once_and_no_journal_flushes_nothing(tmp_path):
    feed = JournalFeed(tmp_path / "j", JournalRules(), ReactorClock(reactor), [].append, reactor.callFromThread)
    await feed.stop()
    assert await journal_commands(None)["journal-flush"](FLUSH) == Response(count=0)
