"""What a filter and DMARC make of a message, on port 25: refused, put off, junk, or nothing."""

from dataclasses import replace
from ipaddress import ip_network

import pytest
from twisted.internet.defer import Deferred

from mailserver.mail.dmarc import DmarcUse
from mailserver.mail.junk import JunkDelivery
from mailserver.policy.junk import JunkFolders
from mailserver.ports import StorageTrouble
from mailserver.ports.scanning import NotScanned, ScanAction, Scanned
from mailserver.session.authentication import Authentication, SpfSettings
from mailserver.session.dmarc_check import DmarcSettings
from mailserver.session.smtp_profile import SMTP, SUBMISSION
from mailserver.session.weighing import NAME_LIMIT_S, ScanSettings, Weigher
from mailserver.wire.smtp_events import Content
from tests.fakes.awaiting import start
from tests.fakes.blocking import DirectBlocking
from tests.fakes.directory import box
from tests.fakes.network import MemoryResolver
from tests.fakes.smtp import SETTINGS, World
from tests.policy.spf.zone import ZoneResolver

CLEAN = Scanned(ScanAction.TAKE, "no action", 0.5, 15.0)
JUNK = Scanned(
    ScanAction.JUNK,
    "add header",
    8.1,
    15.0,
    (("BAYES_SPAM", 5.1), ("MIME_BAD", 3.0)),
    "",
    (("X-Spam-Level", "********"),),
)
REFUSE = Scanned(ScanAction.REFUSE, "reject", 20.0, 15.0, (("GTUBE", 20.0),), "Gtube pattern")
DEFER = Scanned(ScanAction.DEFER, "soft reject", 5.0, 15.0, (), "Greylisted")
DOWN = NotScanned("connection refused", is_down=True)
LARGE = b"Subject: x\r\n\r\n" + b"0123456789abcdef\r\n" * 20_000
SMALL = b"Subject: x\r\n\r\nhello\r\n"


class FakeScanner:
    """Says what it is told to, and keeps what it was asked."""

    def __init__(self, answer):
        self.answer = answer
        self.requests = []
        self.contents = []

    async def scan(self, request, content):
        self.requests.append(request)
        self.contents.append(content if isinstance(content, bytes) else content.octets)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Site(World):
    """A port 25 with a filter."""

    def __init__(self, answer=CLEAN, *, delivery=JunkDelivery.INBOX, own=None, resolver=None, **scanning):
        super().__init__()
        self.scanner = FakeScanner(answer)
        for address, junk in (own or {}).items():
            account = self.directory.accounts[address]
            self.directory.accounts[address] = replace(account, junk=junk)
        self.doors = replace(
            self.doors,
            weigher=Weigher(
                JunkFolders(self.directory, delivery),
                resolver or MemoryResolver(),
                self.clock,
                scanner=self.scanner,
                scanning=ScanSettings(**scanning),
            ),
        )

    def send(self, content=SMALL, *, address="192.0.2.7", settings=SETTINGS, **more):
        client = self.connect(SMTP, address=address, settings=settings)
        client.say("EHLO mx.outside.example\r\n")
        return client.send(content, **more)

    @property
    def acceptance(self):
        return self.committer.stored[-1].acceptance

    def folders(self):
        return [copy.folder for copy in self.acceptance.local]


@pytest.mark.parametrize("content", [SMALL, LARGE])
def test_what_is_clean_is_filed_and_told(content):
    site = Site()
    assert site.send(content).startswith("250")
    assert site.scanner.contents == [content] and site.committer.stored[-1].content == content
    assert site.acceptance.received.startswith(b"X-Spam-Flag: NO")
    assert b"X-Spam-Status: No, score=0.50" in site.acceptance.received
    assert not site.acceptance.envelope.is_junk and site.folders() == [""]
    assert 'verdict=none filter="no action 0.50/15.00"' in site.lines("weighed")[0]


@pytest.mark.parametrize("content", [SMALL, LARGE])
def test_junk_is_marked(content):
    site = Site(JUNK)
    assert site.send(content).startswith("250")
    assert site.acceptance.received.startswith(b"X-Spam-Flag: YES\r\n")
    assert b"X-Spam-Status: Yes, score=8.10 tests=BAYES_SPAM,MIME_BAD" in site.acceptance.received
    assert (b"X-Spam-Level: ********\r\n" in site.acceptance.received) is (content is SMALL)
    assert site.acceptance.envelope.is_junk and site.folders() == [""]
    (line,) = site.lines("weighed")
    assert 'verdict=junk filter="add header 8.10/15.00 BAYES_SPAM(5.10) MIME_BAD(3.00)"' in line


WISHES = [
    (JunkDelivery.INBOX, {}, ["", ""]),
    (JunkDelivery.FOLDER, {}, ["Junk", "Junk"]),
    (JunkDelivery.INBOX, {"bob@example.test": JunkDelivery.FOLDER}, ["", "Junk"]),
    (JunkDelivery.FOLDER, {"bob@example.test": JunkDelivery.INBOX}, ["Junk", ""]),
]


@pytest.mark.parametrize(("delivery", "own", "folders"), WISHES)
def test_each_account_gets_its_junk_where_it_wants_it(delivery, own, folders):
    site = Site(JUNK, delivery=delivery, own=own)
    assert site.send(to=("alice@example.test", "bob@example.test")).startswith("250")
    assert site.folders() == folders
    site.scanner.answer = CLEAN
    assert site.send(to=("alice@example.test", "bob@example.test")).startswith("250")
    assert site.folders() == ["", ""]


@pytest.mark.parametrize("content", [SMALL, LARGE])
@pytest.mark.parametrize(
    ("answer", "reply"),
    [
        (REFUSE, "550 5.7.1 This message was found to be junk: Gtube pattern\r\n"),
        (replace(REFUSE, message=""), "550 5.7.1 This message was found to be junk\r\n"),
        (DEFER, "451 4.7.1 Not now, try again later: Greylisted\r\n"),
    ],
)
def test_what_is_refused_or_put_off_leaves_nothing_and_the_log_says_why(content, answer, reply):
    site = Site(answer)
    assert site.send(content) == reply
    assert site.committer.stored == [] and all(one.is_discarded for one in site.committer.writers)
    (line,) = site.lines("refused")
    assert f'detail="rspamd: {answer}"' in line
    assert site.lines("accepted") == site.lines("weighed") == []
    site.scanner.answer = CLEAN
    assert site.send().startswith("250")
    assert len(site.lines("refused")) == 1


@pytest.mark.parametrize(("defers", "reply"), [(False, "250"), (True, "451 4.7.1 This message cannot be checked")])
def test_when_the_filter_is_down(defers, reply):
    site = Site(DOWN, defers_when_down=defers)
    assert site.send().startswith(reply)
    if not defers:
        assert site.acceptance.received.startswith(b"Received:")
        assert 'filter="not asked: connection refused"' in site.lines("weighed")[0]


def test_what_is_too_large_is_taken_whatever_is_wished_when_it_is_down():
    site = Site(NotScanned("the message is too large"), defers_when_down=True)
    assert site.send(LARGE).startswith("250")
    assert b"X-Spam-Status: No  " in site.acceptance.received


@pytest.mark.parametrize("content", [SMALL, LARGE])
def test_a_scanner_that_breaks_puts_off_and_leaves_nothing(content):
    site = Site(ZeroDivisionError("oh"))
    assert site.send(content).startswith("451 4.3.0")
    assert site.committer.stored == [] and all(one.is_discarded for one in site.committer.writers)


def test_a_content_that_cannot_be_read_back_is_451():
    site = Site()
    client = site.connect(SMTP)
    client.say("EHLO mx.outside.example\r\n")

    async def broken():
        raise StorageTrouble("no disk")

    open_ = site.committer.open

    def opened(acceptance):
        writer = open_(acceptance)
        writer.written = broken
        return writer

    site.committer.open = opened
    assert client.send(LARGE).startswith("451 4.3.0")
    assert all(one.is_discarded for one in site.committer.writers)


def test_complaints_about_junk_come_through():
    site = Site(REFUSE)
    assert site.send(to=("abuse@example.test", "postmaster@example.test")).startswith("250")
    assert site.acceptance.envelope.is_junk
    assert site.send(to=("abuse@example.test", "bob@example.test")).startswith("550")


def test_what_the_filter_is_told():
    resolver = MemoryResolver(addresses={"mx.outside.example": ["192.0.2.7"]})

    async def pointer(address):
        return ("mx.outside.example",)

    resolver.pointer = pointer
    site = Site(resolver=resolver)
    assert site.send(to=("alice@example.test", "bob@example.test")).startswith("250")
    (request,) = site.scanner.requests
    assert (str(request.client), request.hello, request.host_name, request.reverse_path, request.recipients) == (
        "192.0.2.7",
        "mx.outside.example",
        "mx.outside.example",
        "far@outside.example",
        ("alice@example.test", "bob@example.test"),
    )
    assert request.queue_id == site.acceptance.queue_id and request.login == ""
    resolver.address_table = {"mx.outside.example": ["192.0.2.8"]}  # a name that does not lead back is none
    assert site.send(sender="").startswith("250")
    assert (site.scanner.requests[-1].host_name, site.scanner.requests[-1].reverse_path) == ("", "")


def test_a_name_that_does_not_come_is_not_waited_for_long():
    resolver, never = MemoryResolver(), Deferred()

    async def pointer(address):
        return await never

    resolver.pointer = pointer
    site = Site(resolver=resolver)
    client = site.connect(SMTP)
    client.say("EHLO x\r\nMAIL FROM:<a@outside.example>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\n")
    client.machine.receive(SMALL + b".\r\n")
    while (event := client.machine.next_event()) is not None and isinstance(event, Content):
        client.session.content(event)
    waiting = start(client.session.answer(event))
    site.clock.advance(NAME_LIMIT_S - 0.1)
    assert not waiting.called
    site.clock.advance(0.2)
    assert waiting.result.reply.code == 250
    assert not site.clock.twisted.getDelayedCalls()


def login(site):
    client = site.connect(SUBMISSION)
    client.say("EHLO laptop\r\n")
    client.start_tls()
    client.say("EHLO laptop\r\n")
    client.login()
    return client


OURS = b"From: alice@example.test\r\nSubject: x\r\n\r\nhello\r\n"


def test_our_own_people_are_looked_at_only_when_wished():
    site = Site(JUNK)
    assert login(site).send(OURS, sender="alice@example.test").startswith("250")
    assert site.scanner.requests == [] and site.folders() == [""]
    site = Site(JUNK, scans_logins=True, delivery=JunkDelivery.FOLDER)
    assert login(site).send(OURS, sender="alice@example.test").startswith("250")
    assert site.scanner.requests[0].login == "alice@example.test" and site.folders() == ["Junk"]
    site.scanner.answer = REFUSE
    assert login(site).send(OURS, sender="alice@example.test").startswith("550")


def test_trusted_networks_and_this_machine_are_not_looked_at():
    site = Site(JUNK)
    settings = replace(SETTINGS, trusted_networks=(ip_network("198.51.100.0/24"),))
    assert site.send(address="198.51.100.1", settings=settings).startswith("250")
    assert site.send(address="127.0.0.1").startswith("250")
    assert site.scanner.requests == []
    forged = b"X-Spam-Status: No\r\n" + SMALL
    assert site.send(forged, address="127.0.0.1").startswith("250")
    assert site.committer.stored[-1].content == forged
    assert site.send(forged).startswith("250")
    assert site.committer.stored[-1].content == SMALL and site.scanner.contents == [SMALL]


# --- DMARC ------------------------------------------------------------------------------------------------------------

ZONE = {
    "outside.example": [("TXT", "v=spf1 ip4:192.0.2.0/24 -all")],
    "_dmarc.shop.example": [("TXT", "v=DMARC1; p=quarantine")],
    "_dmarc.bank.example": [("TXT", "v=DMARC1; p=reject")],
}


def quarantining():
    site = Site()
    authentication = Authentication(
        "mail.example.test",
        ZoneResolver(ZONE),
        DirectBlocking(),
        site.clock,
        spf=SpfSettings(),
        dmarc=DmarcSettings(DmarcUse.ENFORCE),
    )
    folders = JunkFolders(site.directory, JunkDelivery.FOLDER)
    weigher = Weigher(folders, ZoneResolver(ZONE), site.clock, takes_quarantine=True)
    site.doors = replace(site.doors, authentication=authentication, weigher=weigher)
    return site


@pytest.mark.parametrize("is_large", [False, True])
def test_what_dmarc_quarantines_is_junk(is_large):
    site = quarantining()
    body = b"0123456789abcdef\r\n" * 20_000 if is_large else b"hello\r\n"

    def letter(author):
        return b"From: x@" + author + b"\r\nSubject: x\r\n\r\n" + body

    assert site.send(letter(b"shop.example")).startswith("250")
    received = site.acceptance.received
    assert site.folders() == ["Junk"] and site.acceptance.envelope.is_junk
    assert received.startswith(b"X-Spam-Flag: YES\r\nX-Spam-Status: Yes dmarc=shop.example")
    assert received.index(b"X-Spam-Status") < received.index(b"Authentication-Results") < received.index(b"Received:")
    assert "verdict=junk dmarc=shop.example" in site.lines("weighed")[0]
    assert site.send(letter(b"outside.example")).startswith("250")
    assert site.folders() == [""] and not site.acceptance.envelope.is_junk
    assert (b"X-Spam-Status: No" in site.acceptance.received) is is_large
    assert site.send(letter(b"bank.example")).startswith("550")
    assert len(site.lines("weighed")) == 1


def test_the_queue_asks_for_the_folder_of_junk_only():
    folders = JunkFolders(Site().directory, JunkDelivery.FOLDER)
    assert folders(box("alice@example.test")) == folders(box("nobody@example.test")) == "Junk"
