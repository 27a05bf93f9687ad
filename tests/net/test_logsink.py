"""Events as lines of Twisted's log."""

import io

from twisted.logger import Logger, LogLevel, LogPublisher, textFileLogObserver

from mailserver.maillog import Accepted, Erased, MailEvent, Trouble
from mailserver.net.logsink import FanOut, LogSink, shorten_the_way

ACCEPTED = Accepted("0BCD", "192.0.2.1:25", "<a@b.example>", ("c@d.example",), 17, "ESMTP")


def sink_to(observer):
    return LogSink(observer)


def test_an_event_is_one_line_under_twistds_observer():
    file = io.StringIO()
    sink_to(textFileLogObserver(file, timeFormat=None))(ACCEPTED)
    assert file.getvalue() == (
        "- [mail#info] 0BCD accepted [192.0.2.1:25] reverse_path=<a@b.example> recipients=c@d.example size_octets=17 "
        "protocol=ESMTP\n"
    )


def test_braces_and_line_ends_of_a_peer_do_no_harm():
    file = io.StringIO()
    sink_to(textFileLogObserver(file, timeFormat=None))(
        Accepted("0BCD", "x", "<{0.__class__}\r\n2026 forged@b.example>", (), 1, "SMTP")
    )
    assert file.getvalue().count("\n") == 1
    assert "{0.__class__}" in file.getvalue()


def test_trouble_is_a_warning_and_the_event_rides_along():
    events = []
    sink = sink_to(events.append)
    sink(Trouble("", "the disk", "it is full"))
    sink(ACCEPTED)
    assert [event["log_level"] for event in events] == [LogLevel.warn, LogLevel.info]
    assert events[1]["mail_event"] is ACCEPTED


def test_a_line_that_nobody_reads_is_not_made():
    class Unread(MailEvent):
        def line(self):
            raise AssertionError("formatted")

    events = []
    sink_to(events.append)(Unread())
    assert len(events) == 1


def test_what_is_for_the_journal_alone_stays_out_of_the_log():
    lines, journal = [], []
    FanOut(sink_to(lines.append), journal.append)(Erased("192.0.2.1:25", "a@b.example", "1.M2P3Q4.h"))
    assert (len(lines), len(journal)) == (0, 1)


def test_the_short_way_writes_the_same_octets():
    long_way, short_way = io.StringIO(), io.StringIO()
    others = textFileLogObserver(long_way)
    publisher = LogPublisher(textFileLogObserver(short_way), others, [].append)
    shorten_the_way(LogPublisher(publisher._observers[0]))
    log = Logger(namespace="mail", observer=publisher)
    for event in (ACCEPTED, Trouble("", "the disk", "it is full"), ACCEPTED):
        LogSink(publisher)(event)
    log.info("not of the mail log: {what}\nsecond line", what="{}")
    assert short_way.getvalue() == long_way.getvalue()
    assert short_way.getvalue().count("\n") == 5


def test_the_way_is_shortened_once_and_only_where_text_is_written():
    observer = textFileLogObserver(io.StringIO())
    publisher = LogPublisher(observer, [].append)
    shorten_the_way(publisher)
    shortened = observer.formatEvent
    shorten_the_way(publisher)
    assert observer.formatEvent is shortened


def test_lines_wait_for_a_lull_and_are_written_at_once_in_their_order():
    class File(io.StringIO):
        writes = 0

        def write(self, text):
            self.writes += 1
            return super().write(text)

    file, lulls, events = File(), [], []
    publisher = LogPublisher(textFileLogObserver(file, timeFormat=None), events.append)
    shorten_the_way(publisher)
    sink = LogSink(publisher, lulls.append)
    for number in range(3):
        sink(Trouble("", f"disk {number}", "it is full"))
    assert file.getvalue() == "" and len(lulls) == 1
    lulls[0]()
    assert [line.partition("what=")[2][:8] for line in file.getvalue().splitlines()] == [
        '"disk 0"',
        '"disk 1"',
        '"disk 2"',
    ]
    assert file.writes == 1 and len(events) == 3
    sink(ACCEPTED)
    lulls[1]()
    assert file.writes == 2 and file.getvalue().count("\n") == 4


def test_what_others_say_meanwhile_comes_behind_the_lines_that_were_made_before():
    file = io.StringIO()
    observer = textFileLogObserver(file, timeFormat=None)
    publisher = LogPublisher(observer)
    shorten_the_way(publisher)
    lines = observer.formatEvent

    class Interrupted(MailEvent):
        """Another thread logs while this one's lines are being made."""

        def line(self):
            Logger(namespace="other", observer=publisher).info("in between")
            return "last"

    lulls = []
    sink = LogSink(publisher, lulls.append)
    sink(ACCEPTED)
    sink(Interrupted())
    lulls[0]()
    assert [line.split()[-1] for line in file.getvalue().splitlines()] == ["protocol=ESMTP", "between", "last"]
    assert not lines._gathered
