"""Block lists in an SMTP session: who is asked about, what it may cost, what follows."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from twisted.internet.defer import Deferred

from mailserver.mail.dns import CannotTell, NoSuchName
from mailserver.mail.junk import JunkDelivery
from mailserver.policy.dnsbl import BlockList, LooksAt
from mailserver.policy.junk import JunkFolders
from mailserver.session.list_check import FAILURES_TO_REST, MAX_QUESTIONS, REST_S, BlockLists, ListSettings
from mailserver.session.smtp_profile import SMTP, SUBMISSION
from mailserver.session.weighing import Weigher
from tests.fakes.network import MemoryResolver
from tests.fakes.smtp import SETTINGS, World

ZEN = BlockList("zen.example", "ZEN")
SECOND = BlockList("two.example", "second list")
GOOD = BlockList("white.example", "good ones", -2)
NAMES = BlockList("dbl.example", "names", looks_at=LooksAt.DOMAIN)
CLIENT = "192.0.2.7"
ON_ZEN = {"7.2.0.192.zen.example": ["127.0.0.4"]}
ON_BOTH = {**ON_ZEN, "7.2.0.192.two.example": ["127.0.0.2"]}


class Names(MemoryResolver):
    """Answers from tables, but what is in `held` only when the test lets go of it."""

    def __init__(self, addresses=None, text=None):
        super().__init__(addresses=addresses, text=text)
        self.held = {}

    async def addresses(self, host, *, ipv4=True, ipv6=True):
        if host in self.held:
            self.questions.append(("A", host))
            return await self.held[host]
        return await super().addresses(host, ipv4=ipv4, ipv6=ipv6)

    async def text(self, name):
        self.questions.append(("TXT", name))
        return await super().text(name)


class Site(World):
    """A port 25 with block lists."""

    def __init__(self, addresses=None, text=None, *, lists=(ZEN, SECOND), refuse_at=2, junk_at=1, **settings):
        super().__init__()
        self.resolver = Names(addresses, text)
        self.lists = BlockLists(
            ListSettings(lists, refuse_at, junk_at, **settings), self.resolver, self.clock, self.events.append
        )
        folders = JunkFolders(self.directory, JunkDelivery.FOLDER)
        self.doors = replace(self.doors, weigher=Weigher(folders, self.resolver, self.clock, lists=self.lists))

    def greeted(self, **more):
        client = self.connect(SMTP, **more)
        client.say("EHLO mx.outside.example\r\n")
        return client

    def folders(self):
        return [copy.folder for copy in self.committer.stored[-1].acceptance.local]


def mail(client, sender="far@outside.example"):
    assert client.say(f"MAIL FROM:<{sender}>\r\n").startswith("250")


def test_who_is_on_no_list_notices_nothing():
    site = Site()
    assert site.greeted().send().startswith("250")
    stored = site.committer.stored[0].acceptance
    assert site.folders() == [""] and stored.received.startswith(b"Received:") and not stored.envelope.is_junk
    assert site.lines("weighed") == []


def test_who_is_on_enough_lists_is_refused_and_told_where():
    site = Site(ON_BOTH, {"7.2.0.192.zen.example": ["https://zen.example/?ip=192.0.2.7"]})
    client = site.greeted()
    mail(client)
    assert client.say("RCPT TO:<alice@example.test>\r\n") == (
        "550-5.7.1 192.0.2.7 is listed by ZEN: https://zen.example/?ip=192.0.2.7\r\n"
        "550-5.7.1 192.0.2.7 is listed by second list\r\n"
        "550 5.7.1 If this is an error, have it taken off there, or write to the postmaster here\r\n"
    )
    (line,) = site.lines("refused")
    assert "listed by ZEN" in line and "alice@example.test" in line


def test_who_is_on_one_list_sends_junk():
    site = Site(ON_ZEN)
    assert site.greeted().send(to=("alice@example.test", "bob@example.test")).startswith("250")
    acceptance = site.committer.stored[0].acceptance
    assert site.folders() == ["Junk", "Junk"] and acceptance.envelope.is_junk
    assert acceptance.received.startswith(b"X-Spam-Flag: YES\r\nX-Spam-Status: Yes dnsbl=ZEN\r\nReceived:")
    assert site.lines("weighed") == ['0000000000001 weighed [192.0.2.7:4711] verdict=junk dnsbl="ZEN 192.0.2.7 +1"']
    assert all("folder=Junk" in line for line in site.lines("filed"))


def test_a_large_message_gets_its_marks_in_the_place_kept_for_them():
    site = Site(ON_ZEN)
    content = b"Subject: x\r\n\r\n" + b"0123456789abcdef\r\n" * 20_000
    assert site.greeted().send(content).startswith("250")
    stored = site.committer.stored[0]
    assert stored.was_large and stored.content == content and site.folders() == ["Junk"]
    assert stored.acceptance.received.startswith(b"X-Spam-Flag: YES\r\nX-Spam-Status: Yes dnsbl=ZEN  ")


@pytest.mark.parametrize("who", ["postmaster@example.test", "postmaster", "abuse@example.test"])
def test_the_postmaster_can_be_written_to_from_anywhere(who):
    site = Site(ON_BOTH)
    client = site.greeted()
    mail(client)
    assert client.code("RCPT TO:<alice@example.test>") == 550
    assert client.code(f"RCPT TO:<{who}>") == 250
    assert client.say("DATA\r\n").startswith("354")
    assert client.say("Subject: why?\r\n\r\nx\r\n.\r\n").startswith("250")
    assert site.folders() == ["Junk"]


def test_a_list_of_good_ones_takes_weight_away():
    good = {"7.2.0.192.white.example": ["127.0.0.9"]}
    site = Site({**ON_BOTH, **good}, lists=(ZEN, SECOND, GOOD))
    assert site.greeted().send().startswith("250")
    assert site.folders() == [""]
    (line,) = site.lines("weighed")
    assert "verdict=none" in line and "good ones 192.0.2.7 -2" in line


def test_names_of_senders_are_looked_up_for_each_message():
    listed = {name: ["127.0.1.2"] for name in ("bad.example.dbl.example", "mx.bad.example.dbl.example")}
    site = Site(listed, lists=(NAMES,))
    client = site.greeted()
    assert client.send().startswith("250") and site.folders() == [""]
    assert client.send(sender="x@bad.example").startswith("250") and site.folders() == ["Junk"]
    client.say("EHLO mx.bad.example\r\n")
    mail(client, "x@bad.example")
    assert client.say("RCPT TO:<alice@example.test>\r\n").startswith("550-5.7.1 mx.bad.example is listed by names")
    client.say("RSET\r\n")
    client.say("EHLO mx.outside.example\r\n")
    assert client.send().startswith("250") and site.folders() == [""]
    assert client.say("MAIL FROM:<>\r\n").startswith("250")
    assert client.code("RCPT TO:<alice@example.test>") == 250


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.5", "fd00::1", "198.51.100.1", "203.0.113.5"])
def test_nobody_who_is_no_stranger_is_asked_about(address):
    networks = {"exempt": (ip_network("198.51.100.0/24"),)}
    settings = replace(SETTINGS, trusted_networks=(ip_network("203.0.113.0/24"),))
    site = Site({"*": ["127.0.0.2"]}, lists=(ZEN, NAMES), **networks)
    assert site.greeted(address=address, settings=settings).send().startswith("250")
    assert site.resolver.questions == []


def test_who_logs_in_is_not_refused_for_the_address():
    site = Site(ON_BOTH)
    submission = site.connect(SUBMISSION)
    submission.say("EHLO laptop\r\n")
    submission.start_tls()
    assert site.resolver.questions == []
    profile = replace(SMTP, offers_auth=True)
    client = site.connect(profile, tls=None)
    client.say("EHLO laptop\r\n")
    client.start_tls()
    client.say("EHLO laptop\r\n")
    client.login()
    assert client.send(sender="alice@example.test").startswith("250")
    assert site.folders() == [""]


# --- time -------------------------------------------------------------------------------------------------------------


def test_the_banner_waits_for_nothing_and_rcpt_for_two_seconds_at_most():
    site = Site()
    site.resolver.held = {"7.2.0.192.zen.example": Deferred(), "7.2.0.192.two.example": Deferred()}
    client = site.greeted()
    assert client.banner.startswith("220")
    assert [name for _, name in site.resolver.questions] == ["7.2.0.192.zen.example", "7.2.0.192.two.example"]
    mail(client)
    site.clock.advance(1.5)
    waiting = client.begin("RCPT TO:<alice@example.test>\r\n")
    site.clock.advance(0.4)
    assert not waiting.called
    site.clock.advance(0.2)
    assert str(waiting.result.reply).startswith("250")
    assert not site.clock.twisted.getDelayedCalls()


def test_answers_that_are_there_are_not_waited_for():
    site = Site(ON_BOTH)
    client = site.greeted()
    mail(client)
    client.machine.receive(b"RCPT TO:<alice@example.test>\r\n")
    answer = client.session.answer_at_once(client.machine.next_event())
    assert answer is not None and answer.reply.code == 550


def test_what_comes_in_time_counts_though_another_is_silent():
    site = Site(ON_BOTH, lists=(ZEN, SECOND, BlockList("mute.example", "mute")))
    site.resolver.held = {"7.2.0.192.mute.example": Deferred()}
    client = site.greeted()
    mail(client)
    waiting = client.begin("RCPT TO:<alice@example.test>\r\n")
    site.clock.advance(2.1)
    assert waiting.result.reply.code == 550
    site.resolver.held["7.2.0.192.mute.example"].callback((ip_address("127.0.0.2"),))
    assert site.lines("neighbor-down") == []


def test_a_client_that_goes_leaves_nothing_behind():
    site = Site()
    site.resolver.held = {"7.2.0.192.zen.example": Deferred()}
    client = site.greeted()
    mail(client)
    waiting = client.begin("RCPT TO:<alice@example.test>\r\n")
    client.session.lost("gone")
    assert waiting.called and waiting.result.reply.code == 451
    assert not site.clock.twisted.getDelayedCalls()
    site.resolver.held["7.2.0.192.zen.example"].callback((ip_address("127.0.0.4"),))


def test_without_lists_nothing_waits():
    world = World()
    client = world.connect(SMTP)
    client.say("EHLO mx.outside.example\r\n")
    mail(client)
    client.machine.receive(b"RCPT TO:<alice@example.test>\r\n")
    assert client.session.answer_at_once(client.machine.next_event()).reply.code == 250


# --- lists that do not work -------------------------------------------------------------------------------------------

BROKEN = [
    CannotTell("REFUSED"),
    CannotTell("SERVFAIL"),
    ["127.255.255.254"],
    ["203.0.113.80"],
    ["127.0.0.1"],
]


@pytest.mark.parametrize("answer", BROKEN)
def test_a_list_that_does_not_work_lists_nobody_and_is_told_once(answer):
    site = Site({"7.2.0.192.zen.example": answer, "7.2.0.192.two.example": ["127.0.0.2"]})
    for _ in range(FAILURES_TO_REST + 5):
        assert site.greeted().send().startswith("250")
        assert site.folders() == ["Junk"]
    (line,) = site.lines("neighbor-down")
    assert 'what="block list ZEN"' in line and "lists nobody" in line
    asked = [name for _, name in site.resolver.questions if name == "7.2.0.192.zen.example"]
    assert len(asked) == FAILURES_TO_REST  # it is left alone for a while
    site.clock.advance(REST_S + 1)
    site.resolver.address_table = ON_ZEN
    assert site.greeted().send().startswith("250")
    (line,) = site.lines("neighbor-back")
    assert 'what="block list ZEN"' in line and "down_s=61.0" in line


def test_a_list_that_is_silent_is_left_alone_after_a_while():
    site = Site(lists=(ZEN,))
    for _ in range(FAILURES_TO_REST):
        site.resolver.held = {"7.2.0.192.zen.example": Deferred()}
        client = site.greeted()
        mail(client)
        waiting = client.begin("RCPT TO:<alice@example.test>\r\n")
        site.clock.advance(2.1)
        assert waiting.result.reply.code == 250
    assert len(site.lines("neighbor-down")) == 1
    assert site.greeted().send().startswith("250")  # at once


def test_a_crowd_of_clients_does_not_use_up_the_sockets():
    site = Site(lists=(ZEN,))
    never = Deferred()
    clients = []
    for number in range(MAX_QUESTIONS + 5):
        name = f"{number}.1.51.198.zen.example"
        site.resolver.held[name] = never
        clients.append(site.greeted(address=f"198.51.1.{number}"))
    assert site.lists.under_way == MAX_QUESTIONS == len(site.resolver.questions)
    mail(clients[-1])
    assert clients[-1].code("RCPT TO:<alice@example.test>") == 250  # at once
    assert len(site.lines("trouble")) == 1
    never.callback(NoSuchName())
    assert site.lists.under_way == 0
    site.resolver.held = {}
    site.greeted()
    assert len(site.resolver.questions) == MAX_QUESTIONS + 1


def test_a_list_that_lists_everything_lists_nobody():
    """RFC 5782 5: 127.0.0.1 is on no list."""
    everything = {"7.2.0.192.zen.example": ["127.0.0.2"], "1.0.0.127.zen.example": ["127.0.0.2"]}
    site = Site(everything, refuse_at=1)
    for _ in range(FAILURES_TO_REST):
        assert site.greeted().send().startswith("250")
        assert site.folders() == [""]
    assert 'reason="it lists everything"' in site.lines("neighbor-down")[0]


def test_hostile_words_of_a_list_stay_one_line():
    text = "x\r\n250 Ok\r\n\x1b[2J" + "y" * 10_000
    site = Site(ON_BOTH, {"7.2.0.192.zen.example": [text, "second"]})
    client = site.greeted()
    mail(client)
    reply = client.say("RCPT TO:<alice@example.test>\r\n")
    lines = reply.split("\r\n")
    assert all(line.startswith("550") and len(line) <= 510 and line.isprintable() for line in lines[:-1])
    assert len(lines) == 4


def test_thousands_of_records_are_no_more_than_a_few():
    many = [f"127.0.{number // 250}.{number % 250 + 2}" for number in range(4000)]
    site = Site({"7.2.0.192.zen.example": many})
    assert site.greeted().send().startswith("250")
    assert site.folders() == ["Junk"]


def test_a_resolver_that_breaks_lists_nobody():
    class Broken(Names):
        async def addresses(self, host, *, ipv4=True, ipv6=True):
            raise ZeroDivisionError

    site = Site()
    site.lists._resolver = Broken()
    assert site.greeted().send().startswith("250")
    assert not site.clock.twisted.getDelayedCalls()


def test_forged_marks_are_taken_out_of_a_strangers_mail():
    forged = b"X-Spam-Status: No, score=-99\r\nSubject: x\r\nX-Spam-Flag: NO\r\n\r\nX-Spam-Flag: stays\r\n"
    site = Site()
    assert site.greeted().send(forged).startswith("250")
    assert site.committer.stored[-1].content == b"Subject: x\r\n\r\nX-Spam-Flag: stays\r\n"
