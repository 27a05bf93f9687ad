"""Which names the next certificate is for: those that are configured, or those that DNS leads to somebody.

A name that only follows from what is served (`mta-sts.DOMAIN`) may not be in DNS yet, or never. It must not keep the
host name from its certificate, so it is left out until it has an address.
"""

from twisted.internet.defer import Deferred, DeferredList

from mailserver.config import AcmeChallenge, Config
from mailserver.config.acme import needed_names, wanted_names
from mailserver.mail.dns import NoRecords, NoSuchName
from mailserver.maillog import Sink, Trouble
from mailserver.ports import Resolver


class NamesInDns:
    """`present` and `missing` are as they were at the last `look`."""

    def __init__(self, config: Config, resolver: Resolver, log: Sink) -> None:
        self.present: tuple[str, ...] = ()
        self.missing: tuple[str, ...] = ()
        self._config = config
        self._resolver = resolver
        self._log = log

    @property
    def is_host_missing(self) -> bool:
        """Asking the authority would only use up its patience."""
        return self._config.hostname in self.missing

    async def look(self) -> tuple[str, ...]:
        """The names to order now. What is left out is told once."""
        wanted, acme = wanted_names(self._config), self._config.acme
        if acme.names or acme.challenge is AcmeChallenge.DNS_01:
            self.present = wanted
            return wanted
        asked = [Deferred.fromCoroutine(self._has_no_address(name)) for name in wanted]
        answers = zip(wanted, await DeferredList(asked), strict=True)
        missing = tuple(name for name, (is_told, answer) in answers if is_told and answer)
        if missing != self.missing and missing:
            self._tell(missing)
        self.missing = missing
        needed = needed_names(self._config)
        self.present = tuple(name for name in wanted if name not in missing or name in needed)
        return self.present

    async def _has_no_address(self, name: str) -> bool:
        """Not when DNS is silent: the authority may know more."""
        return isinstance(await self._resolver.addresses(name), NoSuchName | NoRecords)

    def _tell(self, missing: tuple[str, ...]) -> None:
        effect = (
            "no certificate is ordered before it has one"
            if self._config.hostname in missing
            else "the certificate goes without, and another one is ordered when that has changed"
        )
        self._log(Trouble("", "the certificate", f"no A or AAAA record in DNS: {', '.join(missing)}", effect))
