"""What we aim for: the goal of each row that `make bench` prints, in one place.

A goal is a ratio against the peer of the same run, or a figure of ours that is fixed whatever the machine.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Goal:
    """`ratio`: at least so many times as good as the peer. `most`, `least`: bounds of our own figure, in its unit."""

    ratio: float | None = None
    most: float | None = None
    least: float | None = None

    def __str__(self) -> str:
        parts = []
        if self.ratio is not None:
            parts.append(f"{self.ratio:g}x")
        if self.most is not None:
            parts.append(f"<= {self.most:,g}")
        if self.least is not None:
            parts.append(f">= {self.least:,g}")
        return ", ".join(parts)

    def is_met(self, ours: float, ratio: float | None) -> bool | None:
        """None when there is no peer to compare with."""
        if self.most is not None and ours > self.most:
            return False
        if self.least is not None and ours < self.least:
            return False
        if self.ratio is None:
            return True
        return None if ratio is None else ratio >= self.ratio


# By the part of the benchmark, the title of the row, and its unit.
GOALS: dict[tuple[str, str, str], Goal] = {
    ("deliver", "4 KiB, 1 connection", "msg/s"): Goal(1.4),
    ("deliver", "4 KiB, 1 connection", "cpu ms/msg"): Goal(most=0.8),
    ("deliver", "4 KiB, 10 connections", "msg/s"): Goal(1.9),
    ("deliver", "4 KiB, 10 connections", "cpu ms/msg"): Goal(most=0.8),
    ("deliver", "4 KiB, 50 connections", "msg/s"): Goal(2.4),
    ("deliver", "4 KiB, 50 connections", "cpu ms/msg"): Goal(most=0.8),
    ("large", "25 MiB, 1 at a time", "MB/s"): Goal(1.0),
    ("large", "25 MiB, 1 at a time", "peak RSS, MB"): Goal(most=80),
    ("large", "25 MiB, 8 at once", "MB/s"): Goal(1.1),
    ("large", "25 MiB, 8 at once", "peak RSS, MB"): Goal(most=80),
    ("relay", "4 KiB, 1 connection", "msg/s"): Goal(1.2),
    ("relay", "4 KiB, 10 connections", "msg/s"): Goal(1.2),
    ("pop3", "login and STAT, cold", "ms"): Goal(8.0),
    ("pop3", "login and STAT, warm", "ms"): Goal(3.0),
    ("pop3", "LIST and UIDL", "ms"): Goal(1.5),
    ("pop3", "RETR one by one", "msg/s"): Goal(0.9),
    ("pop3", "RETR pipelined", "msg/s"): Goal(0.75),
    ("boxes", "1,000: login, STAT, cold", "ms"): Goal(8.0),
    ("boxes", "1,000: login, STAT, warm", "ms"): Goal(5.0),
    ("boxes", "100,000: login, STAT, cold", "ms"): Goal(15.0),
    ("boxes", "100,000: login, STAT, warm", "ms"): Goal(4.0),
    ("fetch", "RETR, 20 clients", "msg/s"): Goal(1.0),
    ("fetch", "RETR of 25 MiB", "MB/s"): Goal(0.8),
    ("fetch", "DELE 1,000 and QUIT", "ms"): Goal(1.0),
    ("logins", "POP3 logins", "/s"): Goal(5.0),
    ("logins", "POP3S logins", "/s"): Goal(2.0),
    ("handshakes", "STARTTLS", "/s"): Goal(2.0),
    ("handshakes", "STARTTLS and 4 KiB", "msg/s"): Goal(1.5),
    ("idle", "connections served", "of 1000"): Goal(least=1000),
    ("idle", "memory", "octets each"): Goal(most=8000),
    ("idle", "banner with all idle", "ms"): Goal(most=2),
    ("start", "start, empty", "ms"): Goal(most=600),
    ("start", "100,000 filed, 10,000 queued", "ms"): Goal(most=1000),
    ("queue", "100,000 queued: all loaded", "s"): Goal(most=10),
    ("queue", "100,000 queued: memory", "octets each"): Goal(most=1024),
}
