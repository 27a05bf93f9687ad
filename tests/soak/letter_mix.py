"""Which messages the clients send: a mix of ways, recipients and sizes. Pure but for the chance it is given."""

import random
from dataclasses import dataclass, field

from tests.integration.server import ALICE, BOB
from tests.soak.book import Message
from tests.soak.letters import REMOTE_DOMAIN, STRANGER

# Small ones take the way through memory, the last two stream to disk.
_SIZES = (300, 2_000, 4_000, 4_000, 4_000, 20_000, 60_000, 300_000, 1_200_000)
_SIZE_WEIGHTS = (6, 6, 6, 6, 6, 3, 3, 2, 1)
_WORDS = ("ok", "ok", "ok", "late.1", "late.3", "no", "spam", "busy", "drop", "lose")
_NOTIFY = ("NEVER", "SUCCESS", "SUCCESS,FAILURE", "FAILURE", "FAILURE,DELAY")


@dataclass(frozen=True, slots=True)
class Mix:
    """`local` and `remote` are how many recipients of each kind a message may have; `notify` how often one has it."""

    way: str
    senders: tuple[str, ...]
    patterns: tuple[tuple[int, int], ...] = field(default=())
    notify: float = 0.0

    def make(self, number: int, chance: random.Random) -> Message:
        """A new message."""
        local, remote = chance.choice(self.patterns)
        recipients = chance.sample((ALICE, BOB), local)
        recipients += [f"n{number}-{i}.{chance.choice(_WORDS)}@{REMOTE_DOMAIN}" for i in range(remote)]
        notify = {one: chance.choice(_NOTIFY) for one in recipients if chance.random() < self.notify}
        size = chance.choices(_SIZES, _SIZE_WEIGHTS)[0]
        return Message(number, self.way, chance.choice(self.senders), tuple(recipients), size, notify)


INCOMING = Mix("smtp", (STRANGER,), ((1, 0), (1, 0), (1, 0), (2, 0), (1, 1), (2, 2), (0, 1)))
SUBMITTED = Mix("submission", (ALICE, BOB), ((1, 0), (0, 1), (0, 1), (0, 3), (1, 1), (2, 2)), notify=0.4)
DROPPED = Mix("drop", (ALICE, BOB), ((1, 0), (1, 0), (2, 0), (1, 1), (0, 1)))
