"""Which page answers which request: host and path in, answer out. Nothing of the file system is ever served.

    /.well-known/acme-challenge/TOKEN            any host, without TLS       RFC 8555 8.3
    /.well-known/mta-sts.txt                     mta-sts.DOMAIN, TLS only    RFC 8461 3.3
    /mail/config-v1.1.xml                        autoconfig.DOMAIN           Thunderbird and others
    /.well-known/autoconfig/mail/config-v1.1.xml DOMAIN, or our host name    the same
    /autodiscover/autodiscover.xml               POST, TLS only              Outlook
    /status, /metrics                            from this machine only, when switched on

Everything else is the same 404, so that nobody learns what there might be.
"""

import re
from collections.abc import Callable, Collection

from mailserver.mail.address import Mailbox
from mailserver.web import autoconfig
from mailserver.web import status as status_page
from mailserver.web.autoconfig import MailSettings
from mailserver.web.request import HTML, NOT_FOUND, TEXT, XML, WebAnswer, WebRequest, wrong_method
from mailserver.web.status import Status

_CHALLENGES = "/.well-known/acme-challenge/"
# RFC 8555 8.3: base64url, at least 128 bits; who asks for more than a line is no authority.
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,256}", re.ASCII)
_READ_ONLY = "GET, HEAD"
# Nobody between us and the client keeps any of this, nor takes it for something else.
_NOT_KEPT = ("Cache-Control", "no-store")
# A page of a browser on this machine must not be framed, and fetches nothing.
_STATUS_HEADERS = (
    _NOT_KEPT,
    ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    ("Referrer-Policy", "no-referrer"),
)


class Pages:
    """Everything that is shown. `challenge` has the answer to a token, if any; `policy` is our MTA-STS policy (None:
    none); `status` None: that page is off."""

    def __init__(
        self,
        hostname: str,
        domains: Collection[str],
        *,
        settings: MailSettings,
        challenge: Callable[[str], str | None],
        policy: bytes | None = None,
        status: Callable[[], Status] | None = None,
    ) -> None:
        self._hostname = hostname
        self._domains = frozenset(domains)
        self._settings = settings
        self._challenge_answer = challenge
        self._policy = policy
        self._status = status
        self._status_hosts = frozenset({hostname, "localhost", "127.0.0.1", "[::1]"})

    def answer(self, request: WebRequest) -> WebAnswer:
        """The page, or why not."""
        if request.path.startswith(_CHALLENGES):
            found = self._challenge(request)
        elif request.path == "/.well-known/mta-sts.txt":
            found = self._mta_sts(request)
        elif request.path in ("/mail/config-v1.1.xml", "/.well-known/autoconfig/mail/config-v1.1.xml"):
            found = self._thunderbird(request)
        elif request.path.lower() == "/autodiscover/autodiscover.xml":
            return self._outlook(request)
        elif request.path in ("/status", "/metrics"):
            found = self._own_eyes(request)
        else:
            found = NOT_FOUND
        if found is not NOT_FOUND and request.method not in ("GET", "HEAD"):
            return wrong_method(_READ_ONLY)
        return found

    def _challenge(self, request: WebRequest) -> WebAnswer:
        token = request.path[len(_CHALLENGES) :]
        answer = self._challenge_answer(token) if _TOKEN.fullmatch(token) and not request.is_tls else None
        if answer is None:
            return NOT_FOUND
        return WebAnswer(200, "application/octet-stream", answer.encode("ascii"), (_NOT_KEPT,))

    def _mta_sts(self, request: WebRequest) -> WebAnswer:
        domain = request.host.removeprefix("mta-sts.")
        if self._policy is None or not request.is_tls or domain == request.host or domain not in self._domains:
            return NOT_FOUND
        # RFC 8461 3.3: what matters is max_age in the policy; HTTP's own caching is not to be used.
        return WebAnswer(200, TEXT, self._policy, (_NOT_KEPT,))

    def _thunderbird(self, request: WebRequest) -> WebAnswer:
        domain = self._domain_of(request.host, "autoconfig.")
        if request.address:
            mailbox = autoconfig.read_address(request.address)
            domain = mailbox.domain if mailbox is not None and self._is_asked_at(mailbox, domain) else ""
        if not domain or not self._settings.services or not self._is_ours(request.host, "autoconfig."):
            return NOT_FOUND
        return WebAnswer(200, XML, autoconfig.thunderbird(self._settings, domain), (_NOT_KEPT,))

    def _outlook(self, request: WebRequest) -> WebAnswer:
        if not request.is_tls or not self._is_ours(request.host, "autodiscover.") or not self._settings.services:
            return NOT_FOUND
        if request.method != "POST":
            return wrong_method("POST")
        mailbox = autoconfig.asked_address(request.body)
        if mailbox is None or not self._is_asked_at(mailbox, self._domain_of(request.host, "autodiscover.")):
            return NOT_FOUND
        return WebAnswer(200, XML, autoconfig.outlook(self._settings, mailbox), (_NOT_KEPT,))

    def _own_eyes(self, request: WebRequest) -> WebAnswer:
        """For clients on this machine. The host is looked at too: a page elsewhere may give its name our address, and
        a browser here would read it for that page."""
        if self._status is None or not request.peer.is_loopback or request.host not in self._status_hosts:
            return NOT_FOUND
        if request.path == "/metrics":
            return WebAnswer(200, status_page.METRICS_KIND, status_page.metrics(self._status()), (_NOT_KEPT,))
        return WebAnswer(200, HTML, status_page.page(self._status()), _STATUS_HEADERS)

    def _is_asked_at(self, mailbox: Mailbox, domain: str) -> bool:
        """Whether an address is of the domain that the host stands for; of any of ours at our host name."""
        return mailbox.domain in self._domains and domain in ("", mailbox.domain)

    def _is_ours(self, host: str, prefix: str) -> bool:
        return host == self._hostname or bool(self._domain_of(host, prefix))

    def _domain_of(self, host: str, prefix: str) -> str:
        """The domain of ours that a host stands for: itself, or `prefix` and it; empty for none, and our host name."""
        domain = host.removeprefix(prefix)
        return domain if domain in self._domains else ""
