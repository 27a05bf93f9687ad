"""The DKIM keys of the running server: what signs now, and the steps that a rotation takes by itself.

`store.dkim_keys` has the keys, `policy.dkim.keys` the rules; here they meet the resolver and the clock. New keys begin
to sign when their records are seen in DNS, so nobody is sent a signature that cannot be verified.
"""

from twisted.internet.defer import Deferred, DeferredList

from mailserver.mail.dkim_key import DkimKey, KeyState
from mailserver.maillog import DkimKeyChanged, Sink, Trouble
from mailserver.policy.dkim.keys import Published, after_look, published, remarks
from mailserver.policy.dkim.sign import SigningKey
from mailserver.ports import Blocking, Clock, Lane, Overloaded, Resolver
from mailserver.store.dkim_keys import DkimKeyFolder, KeyTrouble

# How often the records of keys that wait are looked for. The resolver remembers that there is none for a while.
LOOK_EACH_S = 60.0
REMIND_EACH_S = 86400.0


class DkimKeeper:
    """`load` comes first. `queue_life_s` is how long a message may wait in the queue."""

    def __init__(
        self,
        folder: DkimKeyFolder,
        resolver: Resolver,
        *,
        blocking: Blocking,
        clock: Clock,
        log: Sink,
        queue_life_s: float,
    ) -> None:
        self._folder = folder
        self._resolver = resolver
        self._blocking = blocking
        self._clock = clock
        self._log = log
        self._queue_life_s = queue_life_s
        self._stamp: tuple[tuple[str, int], ...] = ()
        self._keys: list[DkimKey] = []
        self._signing: dict[str, tuple[SigningKey, ...]] = {}
        self._told: set[KeyTrouble] = set()
        self._looks_at = float("-inf")
        self._reminds_at = float("-inf")

    def keys_of(self, domain: str) -> tuple[SigningKey, ...]:
        """The keys that sign for a domain now, RSA first: who stops at a signature he does not know has seen one."""
        return self._signing.get(domain, ())

    def load(self) -> None:
        """Read all keys. Blocks; what cannot be read is told once and signs nothing."""
        self._take(self._read())

    async def look(self) -> None:
        """To be called every few seconds: takes up what the command line changed, and does what is due."""
        try:
            if await self._blocking.run(Lane.GENERAL, self._folder.stamp) != self._stamp:
                self._take(await self._blocking.run(Lane.GENERAL, self._read))
                self._looks_at = float("-inf")
            now = self._clock.monotonic()
            if now >= self._looks_at:
                self._looks_at = now + LOOK_EACH_S
                await self._look_in_dns()
            if now >= self._reminds_at:
                self._reminds_at = now + REMIND_EACH_S
                self._remind()
        except Overloaded:
            return  # the next time will do

    def _read(self) -> tuple[tuple[tuple[str, int], ...], list[DkimKey], dict[str, list[SigningKey]], list[KeyTrouble]]:
        """In a worker thread. The stamp is taken first: what changes meanwhile is read again."""
        stamp = self._folder.stamp()
        signing: dict[str, list[SigningKey]] = {}
        try:
            keys, troubles = self._folder.read()
        except OSError as error:
            return stamp, [], {}, [KeyTrouble(self._folder.path, error.strerror or str(error))]
        now = self._clock.now()
        for key in keys:
            if key.state(now) is not KeyState.ACTIVE:
                continue
            private = self._folder.private(key)
            if isinstance(private, KeyTrouble):
                troubles.append(private)
            else:
                signing.setdefault(key.domain, []).append(SigningKey(key.domain, key.selector, private))
        return stamp, keys, signing, troubles

    def _take(
        self,
        found: tuple[tuple[tuple[str, int], ...], list[DkimKey], dict[str, list[SigningKey]], list[KeyTrouble]],
    ) -> None:
        self._stamp, self._keys, signing, troubles = found
        self._signing = {
            domain: tuple(sorted(keys, key=lambda key: key.algorithm, reverse=True)) for domain, keys in signing.items()
        }
        for trouble in troubles:
            if trouble not in self._told:
                self._log(Trouble("", "a DKIM key", f"{trouble.path}: {trouble.reason}", "it signs nothing"))
        self._told = set(troubles)

    async def _look_in_dns(self) -> None:
        now = self._clock.now()
        waiting = [key for key in self._keys if key.state(now) is KeyState.WAITING]
        if not waiting:
            return
        asked = [Deferred.fromCoroutine(self._is_published(key)) for key in waiting]
        seen = [
            key for key, (is_told, answer) in zip(waiting, await DeferredList(asked), strict=True) if is_told and answer
        ]
        for domain in dict.fromkeys(key.domain for key in seen):
            selectors = frozenset(key.selector for key in seen if key.domain == domain)
            try:
                changed = await self._blocking.run(Lane.GENERAL, self._advance, domain, selectors)
            except OSError as error:
                self._log(Trouble("", "a DKIM key", str(error), "the old key goes on signing"))
                continue
            for key in changed:
                self._log(DkimKeyChanged(key.domain, key.selector, key.state(now).value))
        self._take(await self._blocking.run(Lane.GENERAL, self._read))

    async def _is_published(self, key: DkimKey) -> bool:
        return published(key, await self._resolver.text(key.name)) is Published.YES

    def _advance(self, domain: str, selectors: frozenset[str]) -> tuple[DkimKey, ...]:
        """In a worker thread; the keys are read anew, for the operator may have changed them."""
        with self._folder.changing():
            keys = [key for key in self._folder.read()[0] if key.domain == domain]
            changed = after_look(keys, selectors, self._clock.now(), self._queue_life_s)
            self._folder.save_all(changed)
        return changed

    def _remind(self) -> None:
        for one in remarks(self._keys, self._clock.now()):
            self._log(Trouble("", f"the DKIM key {one.key.name}", one.finding, one.remedy))
