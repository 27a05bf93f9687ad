"""Runs blocking calls at once, in the caller's thread; or says `Overloaded` for lanes that a test has filled."""

from mailserver.ports import Lane, Overloaded


class DirectBlocking:
    """`mailserver.ports.Blocking`. `full` holds the lanes that take nothing more; `calls` counts hops per lane."""

    def __init__(self) -> None:
        self.full: set[Lane] = set()
        self.calls: dict[Lane, int] = {}

    async def run(self, lane, call, *args):
        if lane in self.full:
            raise Overloaded
        self.calls[lane] = self.calls.get(lane, 0) + 1
        return call(*args)
