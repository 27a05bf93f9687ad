"""Asking a file of history (the journal, the reports) that the server may be writing, or that may not be there."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from mailserver.cli.context import CliContext
from mailserver.store.history_file import HistoryFile
from mailserver.store.journal_format import JournalDamaged, JournalUnavailable

Reader = TypeVar("Reader", bound=HistoryFile)
T = TypeVar("T")


def ask_history(
    context: CliContext, kind: Callable[[Path], Reader], path: Path, ask: Callable[[Reader], T]
) -> T | None:
    """What `ask` finds out; None when there is no file yet. Raises `Refusal` for trouble."""
    try:
        with kind(path) as reader:
            return ask(reader)
    except FileNotFoundError:
        return None
    except PermissionError as error:
        context.refuse(f"{error.filename}: permission denied: run this as root or as the user the server runs as")
    except JournalUnavailable as error:
        context.refuse(str(error))
    except JournalDamaged as error:
        context.refuse(f"{path} cannot be read: {error}; the server sets it aside when it next writes")
