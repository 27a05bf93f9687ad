"""The resolver against a name server that misbehaves on demand."""

from ipaddress import ip_address

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.names import dns

from mailserver.mail.dns import CannotTell, MxRecord, NoRecords, NoSuchName
from mailserver.net import dns_client
from mailserver.net.clock import ReactorClock
from mailserver.net.resolver import MAX_CACHED_OCTETS, CachingResolver
from tests.fakes.awaiting import run
from tests.fakes.clock import FakeClock
from tests.fakes.dns_server import DnsServer

ZONE = {
    "example.net": {"MX": [[20, "Backup.Example.NET"], [10, "mx.example.net"]], "TXT": ["v=spf1 -all", "x" * 300]},
    "mx.example.net": {"A": ["192.0.2.1", "192.0.2.2"], "AAAA": ["2001:db8::1"]},
    "four.example.net": {"A": ["192.0.2.4"]},
    "null.example.net": {"MX": [[0, "."]]},
    "alias.example.net": {"CNAME": ["mx.example.net"]},
    "far.example.net": {"follow": False, "CNAME": ["alias.example.net"]},
    "dangling.example.net": {"CNAME": ["nowhere.example.net"]},
    "loop1.example.net": {"CNAME": ["loop2.example.net"]},
    "loop2.example.net": {"CNAME": ["loop1.example.net"]},
    "broken.example.net": {"rcode": "SERVFAIL"},
    "refused.example.net": {"rcode": "REFUSED"},
    "quiet.example.net": {"silent": True},
    "big.example.net": {"truncate": True, "A": ["192.0.2.9"]},
    "many.example.net": {"MX": [[n, f"host-number-{n}.with-a-long-name.example.net"] for n in range(40)]},
    "remembered.example.net": {"A": ["192.0.2.7"], "ttl": 60},
    "1.2.0.192.in-addr.arpa": {"PTR": ["mx.example.net"]},
    "empty.example.net": {"TXT": ["here"]},
    "_imap._tcp.example.net": {"SRV": ["0 0 0 ."]},
    "_pop3s._tcp.example.net": {"SRV": ["0 1 995 MX.example.net."]},
    "_25._tcp.mx.example.net": {"TLSA": ["3 1 1 " + "0a" * 32]},
    "authority.example.net": {"CAA": ['0 issue "ca.example"', '128 iodef "mailto:\\"a\\"@example.net"']},
    "quotes.example.net": {"TXT": ['say "yes" \\ no']},
}


@pytest.fixture
def quick(monkeypatch):
    """Servers that keep silent cost a fraction of a second."""
    monkeypatch.setattr(dns_client, "ROUNDS_S", (0.05,))


@pytest.fixture
def server():
    server = DnsServer(dict(ZONE)).start(reactor)
    yield server
    pytest_twisted.blockon(server.stop())


@pytest.fixture
def resolver(server):
    return CachingResolver(reactor, ReactorClock(reactor), [("127.0.0.1", server.port)])


@pytest_twisted.ensureDeferred
async def test_mx_records_come_in_lower_case_and_unsorted(resolver):
    assert set(await resolver.mx("example.net")) == {
        MxRecord(20, "backup.example.net"),
        MxRecord(10, "mx.example.net"),
    }


@pytest_twisted.ensureDeferred
async def test_a_null_mx_is_the_root_name(resolver):
    """RFC 7505."""
    assert await resolver.mx("null.example.net") == (MxRecord(0, ""),)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gone.example.net", NoSuchName()),
        ("empty.example.net", NoRecords()),
        ("broken.example.net", CannotTell("SERVFAIL")),
        ("refused.example.net", CannotTell("REFUSED")),
        ("dangling.example.net", NoSuchName()),
        ("loop1.example.net", CannotTell("a chain of CNAMEs without end")),
        ("x" * 64 + ".example.net", CannotTell("not a name that DNS can hold")),
        ("spät.example.net", CannotTell("not a name that DNS can hold")),
    ],
)
@pytest_twisted.ensureDeferred
async def test_no_such_name_no_records_and_cannot_tell_stay_apart(resolver, name, expected):
    assert await resolver.mx(name) == expected
    assert await resolver.addresses(name) == expected


@pytest_twisted.ensureDeferred
async def test_silence_is_cannot_tell(resolver, quick):
    assert await resolver.mx("quiet.example.net") == CannotTell("no answer")
    assert await resolver.addresses("quiet.example.net") == CannotTell("no answer")


@pytest.mark.parametrize("name", ["mx.example.net", "alias.example.net", "far.example.net", "MX.example.net"])
@pytest_twisted.ensureDeferred
async def test_both_families_come_together_and_cnames_are_followed(resolver, name):
    assert set(await resolver.addresses(name)) == {
        ip_address("192.0.2.1"),
        ip_address("192.0.2.2"),
        ip_address("2001:db8::1"),
    }


@pytest_twisted.ensureDeferred
async def test_one_family_is_enough_for_an_answer(resolver):
    assert await resolver.addresses("four.example.net") == (ip_address("192.0.2.4"),)
    assert await resolver.addresses("four.example.net", ipv4=False) == NoRecords()


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("four.example.net", "A", ("192.0.2.4",)),
        ("mx.example.net", "AAAA", ("2001:db8::1",)),
        ("null.example.net", "MX", ("0 .",)),
        ("example.net", "MX", ("20 backup.example.net.", "10 mx.example.net.")),
        ("_imap._tcp.example.net", "SRV", ("0 0 0 .",)),
        ("_pop3s._tcp.example.net", "SRV", ("0 1 995 mx.example.net.",)),
        ("_25._tcp.mx.example.net", "TLSA", ("3 1 1 " + "0a" * 32,)),
        ("authority.example.net", "CAA", ('0 issue "ca.example"', '128 iodef "mailto:\\"a\\"@example.net"')),
        ("quotes.example.net", "TXT", ('"say \\"yes\\" \\\\ no"',)),
        ("1.2.0.192.in-addr.arpa", "PTR", ("mx.example.net.",)),
        ("alias.example.net", "CNAME", ("mx.example.net.",)),
        ("nowhere.example.net", "SRV", NoSuchName()),
        ("four.example.net", "CAA", NoRecords()),
        ("broken.example.net", "CAA", CannotTell("SERVFAIL")),
    ],
)
@pytest_twisted.ensureDeferred
async def test_records_of_any_type_come_as_a_zone_file_has_them(resolver, name, kind, expected):
    found = (await resolver.records(name, kind)).answer
    assert (set(found), len(found)) == (set(expected), len(expected)) if isinstance(found, tuple) else found == expected


@pytest.mark.parametrize(("kind", "value"), [("TLSA", "3 1 1 " + "0a" * 32), ("CAA", '0 issue "ca.example"')])
@pytest_twisted.ensureDeferred
async def test_records_of_types_that_twisted_does_not_read_are_remembered(resolver, server, kind, value):
    server.zone = {"raw.example.net": {kind: [value], "ttl": 60}}
    assert (await resolver.records("raw.example.net", kind)).answer == (value,)
    server.zone = {}
    assert (await resolver.records("raw.example.net", kind)).answer == (value,)


@pytest_twisted.ensureDeferred
async def test_records_behind_an_alias_tell_where_it_leads(resolver):
    found = await resolver.records("alias.example.net", "AAAA")
    assert (found.answer, found.name, found.is_authentic) == (("2001:db8::1",), "mx.example.net", False)


@pytest_twisted.ensureDeferred
async def test_a_truncated_answer_is_asked_for_again_over_tcp(resolver, server):
    assert await resolver.addresses("big.example.net", ipv6=False) == (ip_address("192.0.2.9"),)
    assert len(await resolver.mx("many.example.net")) == 40
    assert ("many.example.net", "MX", "tcp") in server.questions


@pytest_twisted.ensureDeferred
async def test_text_strings_are_joined_and_pointers_are_names(resolver):
    assert set(await resolver.text("example.net")) == {"v=spf1 -all", "x" * 300}
    assert await resolver.pointer(ip_address("192.0.2.1")) == ("mx.example.net",)


@pytest_twisted.ensureDeferred
async def test_a_server_that_cannot_tell_is_followed_by_the_next(server):
    lame = DnsServer({"*": {"rcode": "SERVFAIL"}}).start(reactor)
    try:
        servers = [("127.0.0.1", lame.port), ("127.0.0.1", server.port)]
        resolver = CachingResolver(reactor, ReactorClock(reactor), servers)
        assert await resolver.addresses("four.example.net") == (ip_address("192.0.2.4"),)
    finally:
        await lame.stop()


@pytest_twisted.ensureDeferred
async def test_no_server_at_all_is_cannot_tell(server, quick):
    await server.stop()
    resolver = CachingResolver(reactor, ReactorClock(reactor), [("127.0.0.1", server.port)])
    assert isinstance(await resolver.mx("example.net"), CannotTell)


@pytest_twisted.ensureDeferred
async def test_answers_are_remembered_for_their_ttl_and_no_longer(server):
    clock = FakeClock()
    resolver = CachingResolver(reactor, clock, [("127.0.0.1", server.port)])
    expected = (ip_address("192.0.2.7"),)
    assert await resolver.addresses("remembered.example.net", ipv6=False) == expected
    server.zone["remembered.example.net"] = {"A": ["192.0.2.8"], "ttl": 60}
    clock.advance(59)
    assert await resolver.addresses("remembered.example.net", ipv6=False) == expected
    clock.advance(2)
    assert await resolver.addresses("remembered.example.net", ipv6=False) == (ip_address("192.0.2.8"),)


@pytest_twisted.ensureDeferred
async def test_trouble_is_not_remembered(resolver, server):
    assert await resolver.mx("broken.example.net") == CannotTell("SERVFAIL")
    server.zone["broken.example.net"] = {"MX": [[1, "mx.example.net"]]}
    assert await resolver.mx("broken.example.net") == (MxRecord(1, "mx.example.net"),)


@pytest_twisted.ensureDeferred
async def test_equal_questions_are_asked_once_at_a_time(resolver, server):
    from twisted.internet.defer import Deferred, gatherResults

    answers = await gatherResults([Deferred.fromCoroutine(resolver.mx("example.net")) for _ in range(5)])
    assert len(set(answers)) == 1
    assert len(server.questions) == 1


def test_the_system_file_is_read_again_when_it_changed(tmp_path):
    path = tmp_path / "resolv.conf"
    path.write_text("# comment\nsearch example.org\nnameserver 192.0.2.53\nnameserver 2001:db8::53\nnameserver\n")
    client = dns_client.DnsClient(reactor, resolv_conf=path)
    assert client.servers == (("192.0.2.53", 53), ("2001:db8::53", 53))
    path.unlink()
    assert client.servers == (("127.0.0.1", 53),)
    path.write_text("nameserver 192.0.2.54\n")
    assert client.servers == (("192.0.2.54", 53),)


@pytest_twisted.ensureDeferred
async def test_an_answer_that_was_cut_on_its_way_is_asked_for_over_tcp(server, resolver):
    """Taken as it stands it says that there is no record, and mail would bounce."""
    server.zone["cut.example.net"] = {"MX": [[10, "mx.example.net"]], "cut": 6, "cut_over": ["udp"]}
    assert await resolver.mx("cut.example.net") == (MxRecord(10, "mx.example.net"),)
    assert [transport for _, _, transport in server.questions] == ["udp", "tcp"]


@pytest_twisted.ensureDeferred
async def test_a_server_that_cuts_all_its_answers_cannot_tell(server, resolver):
    server.zone["cut.example.net"] = {"MX": [[10, "mx.example.net"]], "cut": 6}
    assert await resolver.mx("cut.example.net") == CannotTell("an answer that was cut on its way")


class _Generous:
    """A name server of an attacker's, behind an honest resolver: as much as fits, for as long as one likes."""

    def __init__(self):
        self.asked = 0

    async def ask(self, name, kind):
        self.asked += 1
        return dns_client.Records((dns.Record_TXT(*[bytes([65 + self.asked % 26]) * 255] * 250),), 86_400.0)


def test_huge_answers_do_not_fill_the_memory():
    """Anybody may name keys in a signature, each under another name, and answer with 64 KiB that count for an hour."""
    resolver = CachingResolver(reactor, FakeClock())
    resolver._client = client = _Generous()
    for number in range(1000):
        assert run(resolver.text(f"{number}.example"))
    for number in reversed(range(1000)):
        run(resolver.text(f"{number}.example"))
    remembered = 2000 - client.asked
    assert 100 < remembered < MAX_CACHED_OCTETS // 60_000


@pytest_twisted.ensureDeferred
async def test_who_is_canceled_cancels_nobody_else(server):
    """Several wait for one answer; whoever asked first gives up."""
    resolver = CachingResolver(reactor, ReactorClock(reactor), [("127.0.0.1", server.port)])
    asking = [Deferred.fromCoroutine(resolver.addresses("four.example.net", ipv6=False)) for _ in range(4)]
    asking[0].addErrback(lambda failure: failure.trap(CancelledError))
    asking[0].cancel()
    asking[2].addErrback(lambda failure: failure.trap(CancelledError))
    asking[2].cancel()
    assert await asking[1] == await asking[3] == (ip_address("192.0.2.4"),)
