"""The journal as `mailserver why` reads it: beside a running server, or without one. Blocking, no Twisted."""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mailserver.mail.ids import is_queue_id
from mailserver.store.history_file import HistoryFile
from mailserver.store.journal_facts import LOST
from mailserver.store.journal_format import named

# Seconds to the year 9999, and more octets than any message has.
_MOST = 253_370_764_800
_COLUMNS = "number, time, queue_id, word, fields"
# What the owner of a mailbox does with it; found through the messages, and not by the owner's address.
_BY_FILE = ("fetched", "erased")


@dataclass(frozen=True, slots=True)
class Entry:
    """One fact. `time` in seconds since the epoch; `queue_id` may be empty; `fields` as the event had them."""

    number: int
    time: float
    queue_id: str
    word: str
    fields: Mapping[str, object]

    def text(self, name: str) -> str:
        """A field that is a text; empty when it is not there."""
        value = self.fields.get(name)
        return value if isinstance(value, str) else ""

    def texts(self, name: str) -> tuple[str, ...]:
        """A field that is a list of texts, or one text."""
        value = self.fields.get(name)
        if isinstance(value, list):
            return tuple(str(item) for item in value)
        return (value,) if isinstance(value, str) and value else ()

    def figure(self, name: str) -> float | None:
        """A field that is a number; None for one that is beyond all that is counted here, infinite or none."""
        value = self.fields.get(name)
        return value if isinstance(value, int | float) and abs(value) <= _MOST else None

    def is_true(self, name: str) -> bool:
        """A field that is a yes or no; no when it is not there."""
        return self.fields.get(name) is True


@dataclass(frozen=True, slots=True)
class Covered:
    """What the journal holds: how many facts, of the time from `first` to `last`."""

    count: int
    first: float
    last: float


class JournalReader(HistoryFile):
    """An open journal. Raises `FileNotFoundError` when there is none, `JournalUnavailable`, `JournalDamaged`."""

    # --- questions ----------------------------------------------------------------------------------------------------

    def of_message(self, queue_id: str) -> list[Entry]:
        """Everything that bears this queue id, in order."""
        query = f"SELECT {_COLUMNS} FROM event WHERE queue_id = ? AND queue_id <> '' ORDER BY number"
        return list(self._entries(query, queue_id))

    def mentioning(self, mention: str, since: float = 0.0) -> Iterator[Entry]:
        """What is found under this mention (see `journal_facts`), newest first; read as it is asked for."""
        without = f" AND word NOT IN {_BY_FILE}" if mention.startswith("a:") else ""
        query = (
            f"SELECT {_COLUMNS} FROM mention JOIN event ON number = event "
            f"WHERE text = ? AND time >= ?{without} ORDER BY event DESC"
        )
        return self._entries(query, mention, since)

    def covered(self) -> Covered | None:
        """What there is; None for an empty journal."""
        try:
            row = self._connection.execute("SELECT count(*), min(time), max(time) FROM event").fetchone()
        except sqlite3.Error as error:
            raise named(error) from error
        return Covered(*row) if row[0] else None

    def losses(self, since: float = 0.0) -> int:
        """How many events are known to be missing."""
        return sum(int(entry.figure("count") or 0) for entry in self.mentioning(f"{LOST}:", since))

    def _entries(self, query: str, *values: str | float) -> Iterator[Entry]:
        try:
            for number, time, queue_id, word, fields in self._connection.execute(query, values):
                word = word if isinstance(word, str) else ""
                yield Entry(number, _moment(time), queue_id if is_queue_id(queue_id) else "", word, _object(fields))
        except sqlite3.Error as error:
            raise named(error) from error


def _moment(value: object) -> float:
    """A row's time; 0 for what is none: SQLite keeps text in a column of numbers."""
    return float(value) if isinstance(value, int | float) and 0 <= value <= _MOST else 0.0


def _object(text: str) -> Mapping[str, object]:
    """The fields; a row that says nothing readable is shown with its word alone."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
