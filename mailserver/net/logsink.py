"""Where events of the mail log go: into Twisted's log, which twistd writes to standard output or its log file.

    2026-01-05T10:00:00+0000 [mail#info] 0BCDF1GHJKL02 accepted [192.0.2.1:4711] reverse_path=...
    2026-01-05T10:00:00+0000 [mail#warn] trouble what="..." reason="..."

Trouble on our side is at the level of a warning. The event itself rides along, for observers that count instead of
read; the line is made only when an observer writes text.
"""

import contextlib
import time
from collections import deque
from collections.abc import Callable

from twisted.logger import FileLogObserver, ILogObserver, LogEvent, LogLevel, LogPublisher, globalLogPublisher

from mailserver.maillog import MailEvent, Sink
from mailserver.net.lulls import AtLull, at_once

NAMESPACE = "mail"


class LogSink:
    """A `maillog.Sink` on a Twisted log observer. Cheap, never blocks beyond what the observer's file does.

    The events are made here and not by a `Logger`, which does more for each than two lines a message are worth. They
    are written in the next lull, so that nobody waits for it, in the order of coming and all at once. For the reactor
    thread.
    """

    def __init__(self, observer: ILogObserver = globalLogPublisher, at_lull: AtLull = at_once) -> None:
        self._observer = observer
        self._at_lull = at_lull
        self._waiting: list[MailEvent] = []

    def __call__(self, event: MailEvent) -> None:
        """Write one event, unless it is for the journal alone."""
        if event.is_history_only:
            return
        self._waiting.append(event)
        if len(self._waiting) == 1:
            self._at_lull(self.flush)

    def flush(self) -> None:
        """Write what waits."""
        events, self._waiting = self._waiting, []
        left = len(events)
        for event in events:
            left -= 1
            self._observer(
                {
                    "log_namespace": NAMESPACE,
                    "log_level": LogLevel.warn if event.is_trouble else LogLevel.info,
                    "log_format": "{line()}",
                    "log_time": time.time(),
                    "line": event.line,
                    "mail_event": event,
                    "more_follow": left > 0,
                }
            )


def shorten_the_way(publisher: LogPublisher) -> None:
    """Let the log files of `publisher` write events of the mail log without the detour through Twisted's formatter.

    That detour, two lines a message, was a seventh of all that a small message costs (docs/performance.md). The text is
    the same to the octet. An observer that is no text file, or a Twisted that keeps its observers elsewhere, is left as
    it is: then the lines only cost more.
    """
    for observer in getattr(publisher, "_observers", ()):
        if isinstance(observer, FileLogObserver) and not isinstance(observer.formatEvent, _MailLines):
            observer.formatEvent = _MailLines(observer.formatEvent)


class _MailLines:
    """Formats events of the mail log; everything else as `others` does. Lines that come at once are written at once."""

    def __init__(self, others: Callable[[LogEvent], str | None]) -> None:
        self._others = others
        # The last second that was written out, and how.
        self._second, self._stamp = -1, ""
        # A deque, because other events come from other threads.
        self._gathered: deque[str] = deque()

    def __call__(self, event: LogEvent) -> str | None:
        mail_event = event.get("mail_event")
        if mail_event is None:
            text = self._others(event)
            return self._take() + (text or "") if self._gathered else text
        second = int(event["log_time"])
        if second != self._second:
            self._second, self._stamp = second, time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(second))
        line = f"{self._stamp} [{event['log_namespace']}#{event['log_level'].name}] {mail_event.line()}\n"
        if not event["more_follow"] and not self._gathered:
            return line
        self._gathered.append(line)
        return None if event["more_follow"] else self._take()

    def _take(self) -> str:
        lines = []
        with contextlib.suppress(IndexError):
            while True:
                lines.append(self._gathered.popleft())
        return "".join(lines)


class FanOut:
    """A `maillog.Sink` that tells several others, in order."""

    def __init__(self, *sinks: Sink) -> None:
        self._sinks = sinks

    def __call__(self, event: MailEvent) -> None:
        """Tell each."""
        for sink in self._sinks:
            sink(event)
