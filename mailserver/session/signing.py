"""Which messages are signed, with which keys, and where the work is done (RFC 6376, policy/dkim/sign)."""

from collections.abc import Callable

from mailserver.mail.address_list import mailboxes_in
from mailserver.mail.headers import first_value, header_end
from mailserver.policy.dkim.sign import Signing, SigningKey
from mailserver.ports import Blocking, Clock, Lane

# The keys that sign for a domain now; none for a domain that has none.
KeysOf = Callable[[str], tuple[SigningKey, ...]]


class Signer:
    """Signs what our own people and the server itself send, when the domain in From has keys."""

    def __init__(self, keys_of: KeysOf, blocking: Blocking, clock: Clock) -> None:
        self._keys_of = keys_of
        self._blocking = blocking
        self._clock = clock

    def begin(self, section: bytes) -> Signing | None:
        """The signatures of a message with this header section, as it will be sent; None when it is not signed.

        The domain is that of the first address in From: it is what a reader is shown, and what DMARC asks about.
        """
        mailboxes = mailboxes_in(first_value(section, b"from").decode("utf-8", "surrogateescape"))
        keys = self._keys_of(mailboxes[0].domain) if mailboxes else ()
        return Signing(section, keys, self._clock.now()) if keys else None

    async def fields(self, signing: Signing) -> bytes:
        """The finished fields, worked out in another thread. Raises `Overloaded`."""
        return await self._blocking.run(Lane.GENERAL, signing.fields)

    def signed(self, content: bytes) -> bytes:
        """A whole message of the server's own with its signatures on top. Blocks for some milliseconds."""
        end = header_end(content)
        signing = self.begin(content[:end])
        if signing is None:
            return content
        signing.body(content[end:].removeprefix(b"\r\n"))
        return signing.fields() + content
