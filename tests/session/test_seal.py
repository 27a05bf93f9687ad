"""Signatures and verdicts before the content: small contents, and large ones that stream behind a place kept free."""

from dataclasses import replace
from ipaddress import ip_network

import pytest

from mailserver.mail.dns import CannotTell
from mailserver.ports import Lane
from mailserver.session.authentication import KEYS_LIMIT_S, Authentication, fetch_texts
from mailserver.session.seal import fitted
from mailserver.session.signing import Signer
from mailserver.session.smtp_profile import SMTP, SUBMISSION
from tests.fakes.awaiting import run, start
from tests.fakes.blocking import DirectBlocking
from tests.fakes.clock import FakeClock
from tests.fakes.directory import MemoryDirectory
from tests.fakes.smtp import SETTINGS, TLS, World
from tests.policy.dkim.keys import DOMAIN, answers, checked, signed, signing_keys
from tests.policy.dkim.messages import message


class FakeResolver:
    """TXT records by name. A value that is awaitable is waited for."""

    def __init__(self, texts):
        self.texts = texts
        self.asked = []

    async def text(self, name):
        self.asked.append(name)
        answer = self.texts.get(name, CannotTell("not in this test"))
        return await answer if hasattr(answer, "__await__") else answer


@pytest.mark.parametrize("octets", [200, 700, 2048])
@pytest.mark.parametrize(
    "field",
    [
        b"Authentication-Results: h; none\r\n",
        b"Authentication-Results: mx.example.org;\r\n\tdkim=none;\r\n\tarc=none\r\n",
        b"Authentication-Results: mx.example.org; " + b"dkim=pass header.d=x " * 7 + b"\r\n",
    ],
)
def test_a_field_fits_the_place_that_was_kept_for_it(field, octets):
    found = fitted(field, octets)
    assert len(found) == octets
    assert found.count(b"\r\n") == 3
    assert all(line[:1] == b"\t" or line[:1] == b" " for line in found.split(b"\r\n")[1:-1])
    assert all(line.strip() for line in found.split(b"\r\n")[:-1])
    assert max(map(len, found.split(b"\r\n"))) <= 998
    assert found.split() == field.split()


def test_what_dns_does_not_tell_in_time_costs_no_more_than_that():
    from twisted.internet.defer import Deferred

    clock, never = FakeClock(), Deferred()
    resolver = FakeResolver({"a.example": ("x",), "slow.example": never})
    fetching = start(fetch_texts(resolver, clock, ("a.example", "slow.example"), KEYS_LIMIT_S))
    assert not fetching.called
    clock.advance(KEYS_LIMIT_S)
    assert fetching.called
    assert fetching.result == {"a.example": ("x",), "slow.example": CannotTell("no answer in time")}
    never.callback(("late",))
    assert fetching.result["slow.example"] == CannotTell("no answer in time")
    assert not clock.twisted.getDelayedCalls()


def test_a_resolver_that_breaks_is_a_name_that_cannot_be_told():
    class Broken:
        async def text(self, name):
            raise ZeroDivisionError

    clock = FakeClock()
    assert run(fetch_texts(Broken(), clock, ("a.example",), 1.0)) == {"a.example": CannotTell("no answer in time")}
    assert not clock.twisted.getDelayedCalls()
    assert run(fetch_texts(Broken(), clock, (), 1.0)) == {}


def _keys_of(domain):
    return signing_keys() if domain == DOMAIN else ()


class Postbox(World):
    """A world that signs for example.org and checks strangers."""

    def __init__(self, texts=None):
        super().__init__(people())
        self.blocking = DirectBlocking()
        self.resolver = FakeResolver(answers() if texts is None else texts)
        self.doors = replace(
            self.doors,
            signer=Signer(_keys_of, self.blocking, self.clock),
            authentication=Authentication("mail.example.test", self.resolver, self.blocking, self.clock),
        )

    def submit(self, content, **envelope):
        client = self.connect(SUBMISSION, tls=TLS)
        client.say("EHLO pc.example\r\n")
        client.login("alice@example.org", "secret")
        return client.send(content, sender="alice@example.org", **envelope)

    def receive(self, content, **more):
        client = self.connect(SMTP, **more)
        client.say("EHLO mx.outside.example\r\n")
        return client.send(content, to=("alice@example.org",))

    def filed(self):
        """The last content with what stands before it, but for the trace fields of the copy."""
        stored = self.committer.stored[-1]
        return stored.acceptance.received + stored.content


def people():
    return MemoryDirectory(accounts=("alice@example.org",))


_LARGE = b"".join(b"line %d \t of a long letter  \r\n" % number for number in range(20_000))


def _submitted(content):
    return b"From: alice@example.org\r\nDate: x\r\nMessage-ID: <1@x>\r\nSubject: long\r\n\r\n" + content


@pytest.mark.parametrize("body", [b"hello\r\n", b"", _LARGE])
def test_what_our_people_send_is_signed_with_both_keys(body):
    box = Postbox()
    assert box.submit(_submitted(body), to=("bob@elsewhere.example",)).startswith("250")
    content = box.filed()
    assert box.committer.stored[-1].was_large == (len(body) > 256 * 1024)
    # Behind our Received field, which is not signed.
    assert content.startswith(b"Received:")
    results = checked(content, now=box.clock.now()).dkim
    assert [(one.verdict.value, one.algorithm) for one in results] == [
        ("pass", "rsa-sha256"),
        ("pass", "ed25519-sha256"),
    ]
    assert content.endswith(_submitted(body))


def test_what_is_added_at_submission_is_signed_too():
    box = Postbox()
    assert box.submit(b"Subject: no date\r\n\r\nx\r\n").startswith("250")
    content = box.filed()
    assert {one.verdict.value for one in checked(content, now=box.clock.now()).dkim} == {"pass"}
    changed = content.replace(b"Date: ", b"Date:  Monday ")
    assert {one.verdict.value for one in checked(changed, now=box.clock.now()).dkim} == {"fail"}


def test_a_domain_without_keys_is_not_signed():
    box = Postbox()
    box.doors = replace(box.doors, signer=Signer(lambda domain: (), box.blocking, box.clock))
    assert box.submit(_submitted(b"x\r\n")).startswith("250")
    assert b"DKIM-Signature" not in box.filed()
    assert box.blocking.calls == {}


def test_a_stranger_is_never_signed_for():
    box = Postbox()
    assert box.receive(_submitted(b"x\r\n")).startswith("250")
    assert b"DKIM-Signature" not in box.filed()


def test_a_client_of_a_trusted_network_is_signed_for():
    box = Postbox()
    settings = replace(SETTINGS, trusted_networks=(ip_network("192.0.2.0/24"),))
    assert box.receive(_submitted(b"x\r\n"), settings=settings).startswith("250")
    assert {one.verdict.value for one in checked(box.filed(), now=box.clock.now()).dkim} == {"pass"}


def test_when_signing_is_overloaded_the_client_comes_back():
    for body in (b"x\r\n", _LARGE):
        box = Postbox()
        box.blocking.full.add(Lane.GENERAL)
        assert box.submit(_submitted(body), to=("bob@elsewhere.example",)).startswith("451")
        assert box.committer.stored == []
        assert all(writer.is_discarded for writer in box.committer.writers)


@pytest.mark.parametrize("body", [b"hello\r\n", b"", _LARGE])
def test_a_strangers_signatures_are_checked_and_told(body):
    box = Postbox()
    content = signed(b"From: far@example.org\r\nSubject: signed\r\n\r\n" + body, box.clock.now())
    assert box.receive(content).startswith("250")
    assert box.lines("authenticated") == [
        "0000000000001 authenticated [192.0.2.7:4711] "
        'dkim="pass example.org r1 rsa-sha256","pass example.org e1 ed25519-sha256"'
    ]
    assert box.filed().endswith(content)
    assert sorted(box.resolver.asked) == ["e1._domainkey.example.org", "r1._domainkey.example.org"]


def test_a_changed_message_fails_and_is_taken():
    box = Postbox()
    content = signed(b"From: far@example.org\r\n\r\nhello\r\n", box.clock.now()).replace(b"hello", b"changed")
    assert box.receive(content).startswith("250")
    assert box.lines("authenticated")[0].count("fail example.org") == 2


def test_dns_trouble_is_told_and_refuses_nothing():
    box = Postbox({})
    assert box.receive(signed(message(1), box.clock.now())).startswith("250")
    assert box.lines("authenticated")[0].count("temperror") == 2


def test_a_message_without_signatures_costs_no_thread_and_no_look_up():
    box = Postbox()
    assert box.receive(b"From: far@outside.example\r\n\r\nhello\r\n").startswith("250")
    assert (box.blocking.calls, box.resolver.asked, box.lines("authenticated")) == ({}, [], [])


def _results(content):
    """Our Authentication-Results field, unfolded, and what follows it."""
    end = content.index(b"Received:")
    return b" ".join(content[:end].split()).decode(), content[end:]


@pytest.mark.parametrize("body", [b"hello\r\n", _LARGE])
def test_the_verdicts_stand_on_top_of_a_strangers_message(body):
    box = Postbox()
    content = signed(b"From: far@example.org\r\nSubject: signed\r\n\r\n" + body, box.clock.now())
    box.receive(content)
    field, _ = _results(box.filed())
    assert field.startswith(
        "Authentication-Results: mail.example.test; arc=none; "
        "dkim=pass header.d=example.org header.s=r1 header.a=rsa-sha256 header.b="
    )
    assert "dkim=pass header.d=example.org header.s=e1 header.a=ed25519-sha256" in field
    box.receive(b"From: far@outside.example\r\n\r\n" + body)
    field, rest = _results(box.filed())
    assert field == "Authentication-Results: mail.example.test; arc=none; dkim=none"
    assert rest.endswith(b"From: far@outside.example\r\n\r\n" + body)


@pytest.mark.parametrize("body", [b"hello\r\n", _LARGE])
def test_forged_verdicts_are_taken_out_and_signatures_over_them_still_count(body):
    box = Postbox()
    forged = b"Authentication-Results: mail.example.test; dkim=pass header.d=bank.example\r\n"
    other = b"Authentication-Results: mx.elsewhere.example; dkim=pass header.d=bank.example\r\n"
    content = forged + other + signed(b"From: far@example.org\r\n\r\n" + body, box.clock.now())
    box.receive(content)
    field, rest = _results(box.filed())
    assert "bank.example" not in field
    assert field.count("dkim=pass") == 2
    assert forged not in rest
    assert rest.endswith(content.removeprefix(forged))


def test_our_own_people_get_no_verdicts():
    box = Postbox()
    box.submit(_submitted(b"x\r\n"))
    assert b"Authentication-Results" not in box.filed()


def test_the_place_for_verdicts_holds_the_most_of_them_that_fit():
    box = Postbox({})
    one = signed(b"From: far@example.org\r\n\r\n", box.clock.now())
    many = one[: one.index(b"From:")] * 30 + b"From: far@example.org\r\n\r\n" + _LARGE
    assert box.receive(many).startswith("250")
    field, rest = _results(box.filed())
    assert rest.endswith(many)
    assert field.count("dkim=temperror") == 5
    assert field.count("dkim=policy") > 3


def test_checking_can_be_turned_off():
    box = Postbox()
    authentication = Authentication("mail.example.test", box.resolver, box.blocking, box.clock, checks_dkim=False)
    box.doors = replace(box.doors, authentication=authentication)
    box.receive(signed(b"From: far@example.org\r\n\r\nx\r\n", box.clock.now()))
    assert _results(box.filed())[0] == "Authentication-Results: mail.example.test; none"
    assert box.resolver.asked == []
