"""Gives targets inputs of atheris' making. Needs the environment of `make fuzz`.

Instrumenting takes seconds, so it is done once: this process reads orders from its standard input, one JSON list a
line, `[log, target, options and paths of libFuzzer...]`, carries each out in a child, and answers with its exit status
and the seconds of processor time it took.
"""

import json
import os
import sys

import atheris

# What is ours is watched, so that an input which reaches something new is kept and changed further.
with atheris.instrument_imports(include=["mailserver"]):
    from tests.fuzz.table import PLANTED, target_named

_PLANTED = atheris.instrument_func(PLANTED.run)


def fuzz(log: str, name: str, options: list[str]) -> None:
    """Does not return: libFuzzer ends the process."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(output, 1)
    os.dup2(output, 2)
    atheris.Setup(["fuzz", *options], _PLANTED if name == PLANTED.name else target_named(name).run)
    atheris.Fuzz()


def carry_out(log: str, name: str, *options: str) -> tuple[int, float]:
    """One order, to its end."""
    child = os.fork()
    if child == 0:
        fuzz(log, name, list(options))
        os._exit(1)  # it came back, which it never should
    _, status, used = os.wait4(child, 0)
    return os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime


def main() -> None:
    """Until there are no more orders."""
    for line in sys.stdin:
        print(json.dumps(carry_out(*json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
