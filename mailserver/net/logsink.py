"""Where events of the mail log go: into Twisted's log, which twistd writes to standard output or its log file.

    2026-01-05T10:00:00+0000 [mail#info] 0BCDF1GHJKL02 accepted [192.0.2.1:4711] reverse_path=...
    2026-01-05T10:00:00+0000 [mail#warn] trouble what="..." reason="..."

Trouble on our side is at the level of a warning. The event itself rides along, for observers that count instead of
read; the line is made only when an observer writes text.
"""

from twisted.logger import Logger

from mailserver.maillog import MailEvent, Sink

NAMESPACE = "mail"


class LogSink:
    """A `maillog.Sink` on a Twisted logger. Cheap, never blocks beyond what the observer's file does."""

    def __init__(self, logger: Logger | None = None) -> None:
        self._log = logger or Logger(namespace=NAMESPACE)

    def __call__(self, event: MailEvent) -> None:
        """Write one event, unless it is for the journal alone."""
        if event.is_history_only:
            return
        emit = self._log.warn if event.is_trouble else self._log.info
        emit("{line()}", line=event.line, mail_event=event)


class FanOut:
    """A `maillog.Sink` that tells several others, in order."""

    def __init__(self, *sinks: Sink) -> None:
        self._sinks = sinks

    def __call__(self, event: MailEvent) -> None:
        """Tell each."""
        for sink in self._sinks:
            sink(event)
