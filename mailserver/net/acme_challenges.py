"""Showing the authority that a name is ours (RFC 8555 8): one way for each kind of challenge. Blocking, no Twisted.

What is shown is taken away again in any case. Tokens come from the authority and are checked before one becomes a file
name; the hook gets names and values as arguments, and no shell ever sees them.
"""

import contextlib
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mailserver.mail.reply import printable

HOOK_TIMEOUT_S = 120.0
# How often it is looked whether a hook has ended.
_POLL_S = 0.05
# Of what a hook prints, the end is kept; a pipe holds so many blocks.
_KEPT_OCTETS, _BLOCK_OCTETS, _PIPE_BLOCKS = 4 << 10, 64 << 10, 16
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,256}", re.ASCII)
_WELL_KNOWN = (".well-known", "acme-challenge")


class ChallengeTrouble(Exception):
    """A challenge that cannot be shown. The text says why, `remedy` what to do."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Proof:
    """What has to be seen for a name: `answer` at the path of `token` (http-01), or `record` as TXT (dns-01)."""

    name: str
    token: str
    answer: str
    record: str


class Showing(Protocol):
    """Shows proofs; `kind` is the type of challenge it is for."""

    @property
    def kind(self) -> str:
        """`http-01` or `dns-01`."""

    def show(self, proofs: Sequence[Proof], wait: Callable[[float], None]) -> None:
        """All can be seen from outside when this returns. Raises `ChallengeTrouble`."""

    def take_away(self, proofs: Sequence[Proof]) -> list[str]:
        """They are needed no more, shown or not. What could not be removed is told, one text each."""


class Answers(Protocol):
    """The web listener's table of answers."""

    def put(self, token: str, answer: str) -> None:
        """Answer so when asked for this token."""

    def remove(self, token: str) -> None:
        """Answer no more."""


class OwnListener:
    """http-01 through `[listen] http`."""

    kind = "http-01"

    def __init__(self, answers: Answers, run: Callable[[Callable[[], None]], None]) -> None:
        """`run` runs a call in the thread of the listener."""
        self._answers = answers
        self._run = run

    def show(self, proofs: Sequence[Proof], wait: Callable[[float], None]) -> None:
        """See `Showing`."""
        del wait
        for proof in proofs:
            token, answer = _checked(proof.token), proof.answer
            self._run(lambda token=token, answer=answer: self._answers.put(token, answer))  # type: ignore[misc]

    def take_away(self, proofs: Sequence[Proof]) -> list[str]:
        """See `Showing`."""
        for proof in proofs:
            self._run(lambda token=proof.token: self._answers.remove(token))  # type: ignore[misc]
        return []


class Webroot:
    """http-01 through another web server of this machine: files below its folder, readable by everybody."""

    kind = "http-01"

    def __init__(self, root: Path) -> None:
        self._root = root

    def show(self, proofs: Sequence[Proof], wait: Callable[[float], None]) -> None:
        """See `Showing`."""
        del wait
        folder = self._folder
        try:
            for path in (folder.parent, folder):
                if not path.is_dir():
                    path.mkdir()
                    path.chmod(0o755)
            for proof in proofs:
                self._write(folder / _checked(proof.token), proof.answer)
        except OSError as error:
            raise ChallengeTrouble(
                f"{error.filename or folder} cannot be written: {(error.strerror or str(error)).lower()}",
                f"let the user of this server (id {os.geteuid()}) write in {folder}, or mend acme.webroot",
            ) from None

    def take_away(self, proofs: Sequence[Proof]) -> list[str]:
        """See `Showing`."""
        left = []
        for proof in proofs:
            if _TOKEN.fullmatch(proof.token) is None:
                continue
            path = self._folder / proof.token
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                left.append(f"{path} could not be removed: {(error.strerror or str(error)).lower()}")
        return left

    @property
    def _folder(self) -> Path:
        return self._root.joinpath(*_WELL_KNOWN)

    @staticmethod
    def _write(path: Path, answer: str) -> None:
        path.unlink(missing_ok=True)
        # Not for ever and of no worth after a crash, so neither atomic nor durable.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            os.fchmod(descriptor, 0o644)
            os.write(descriptor, answer.encode("ascii"))
        finally:
            os.close(descriptor)


class DnsHook:
    """dns-01 by a command: `HOOK add _acme-challenge.NAME VALUE`, and `remove` with the same afterwards."""

    kind = "dns-01"

    def __init__(self, hook: Path, propagation_s: float, timeout_s: float = HOOK_TIMEOUT_S) -> None:
        self._hook = hook
        self._propagation_s = propagation_s
        self._timeout_s = timeout_s

    def show(self, proofs: Sequence[Proof], wait: Callable[[float], None]) -> None:
        """See `Showing`."""
        for proof in proofs:
            trouble = self._run("add", proof)
            if trouble:
                raise ChallengeTrouble(
                    trouble,
                    f"run it by hand with the same words until it works, as the user with the id {os.geteuid()}",
                )
        wait(self._propagation_s)

    def take_away(self, proofs: Sequence[Proof]) -> list[str]:
        """See `Showing`."""
        return [trouble for proof in proofs if (trouble := self._run("remove", proof))]

    def _run(self, what: str, proof: Proof) -> str:
        """Empty when it did what it should, else what went wrong and what the hook said."""
        command = [str(self._hook), what, f"_acme-challenge.{proof.name.removeprefix('*.')}", proof.record]
        shown = " ".join(command)
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            return f"{self._hook} cannot be run: {(error.strerror or str(error)).lower()}"
        with process:
            has_ended, output = _watch(process, self._timeout_s)
        if not has_ended:
            return f"`{shown}` did not end within {self._timeout_s:g} s{_said(output)}"
        if process.returncode:
            return f"`{shown}` ended with status {process.returncode}{_said(output)}"
        return ""


def _watch(process: "subprocess.Popen[bytes]", timeout_s: float) -> tuple[bool, bytes]:
    """Whether it ended in time (else it is killed), and the end of what it printed.

    Not `communicate`: that waits for everybody who holds the pipe, a daemon which the hook left behind too, and keeps
    all that is printed.
    """
    assert process.stdout is not None, "it was asked for"
    pipe, output = process.stdout.fileno(), b""
    os.set_blocking(pipe, False)
    # Not select(), which knows descriptors below 1024 only.
    readable = select.poll()
    readable.register(pipe, select.POLLIN)
    end = time.monotonic() + timeout_s
    is_open = True
    while process.poll() is None and time.monotonic() < end:
        if not is_open:
            time.sleep(_POLL_S)
        elif readable.poll(_POLL_S * 1000):
            block = os.read(pipe, _BLOCK_OCTETS)
            is_open, output = bool(block), (output + block)[-_KEPT_OCTETS:]
    has_ended = process.poll() is not None
    if not has_ended:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    # What is in the pipe still, and not what somebody may go on to write.
    with contextlib.suppress(BlockingIOError):
        for _ in range(_PIPE_BLOCKS):
            output = (output + os.read(pipe, _BLOCK_OCTETS))[-_KEPT_OCTETS:]
    return has_ended, output


def _said(output: bytes) -> str:
    text = " / ".join(line.strip() for line in output.decode("utf-8", "replace").splitlines() if line.strip())
    return f" and said: {printable(text[-400:])}" if text else ""


def _checked(token: str) -> str:
    """A token of RFC 8555 8.3: base64url. Anything else might leave the folder."""
    if _TOKEN.fullmatch(token) is None:
        raise ChallengeTrouble("the authority sent a token that is none (RFC 8555 8.3)", "ask the authority")
    return token
