"""Caps, and who goes first when it is crowded."""

from dataclasses import dataclass, field

from mailserver.mail.peer import Peer, peer_from
from mailserver.net.admission import EVICTED, EVICTED_IN_CONTENT, MAX_HELD_OCTETS, GuestList
from mailserver.policy.limits import Admission, ConnectionLimits

BUSY = b"421 4.3.2 too many connections\r\n"


@dataclass(eq=False)
class FakeGuest:
    peer: Peer
    last_heard_at: float = 0.0
    is_idle: bool = True
    is_stranger: bool = True
    is_answering: bool = False
    ended: list = field(default_factory=list)

    def evict(self, words, why):
        self.ended.append((words, why))

    def shut_down(self):
        self.ended.append("shut down")

    def abort(self):
        self.ended.append("aborted")


def crowd(size, limit, **changes):
    guests = GuestList(ConnectionLimits(max_connections=limit, max_per_client=limit), BUSY)
    entered = []
    for number in range(size):
        peer = peer_from("192.0.2.1", number + 1)
        assert guests.admit(peer) is Admission.ADMITTED
        guest = FakeGuest(peer, last_heard_at=float(number), **changes)
        guests.entered(guest)
        entered.append(guest)
    return guests, entered


def test_nobody_goes_below_ninety_percent():
    guests, entered = crowd(8, limit=10)
    assert guests.admit(peer_from("192.0.2.2", 1)) is Admission.ADMITTED
    assert [guest.ended for guest in entered] == [[]] * 8


def test_from_ninety_percent_on_a_newcomer_takes_the_place_of_the_stranger_silent_for_longest():
    guests, entered = crowd(9, limit=10)
    entered[0].last_heard_at = 100.0
    assert guests.admit(peer_from("192.0.2.2", 1)) is Admission.ADMITTED
    assert entered[1].ended == [(BUSY, EVICTED)]
    assert [guest.ended for guest in entered if guest is not entered[1]] == [[]] * 8


def test_who_is_at_work_or_has_logged_in_stays():
    guests, entered = crowd(9, limit=10)
    entered[0].is_idle = False
    entered[1].is_stranger = False
    guests.admit(peer_from("192.0.2.2", 1))
    assert entered[2].ended == [(BUSY, EVICTED)]
    assert entered[0].ended == entered[1].ended == []


def test_when_nobody_can_go_the_limit_holds():
    guests, entered = crowd(10, limit=10, is_idle=False)
    assert guests.admit(peer_from("192.0.2.2", 1)) is Admission.TOO_MANY
    assert [guest.ended for guest in entered] == [[]] * 10


def test_a_client_over_its_own_limit_pushes_nobody_out_when_it_is_not_crowded():
    guests = GuestList(ConnectionLimits(max_connections=100, max_per_client=1), BUSY)
    peer = peer_from("192.0.2.1", 1)
    assert guests.admit(peer) is Admission.ADMITTED
    guests.entered(FakeGuest(peer))
    assert guests.admit(peer_from("192.0.2.1", 2)) is Admission.TOO_MANY_OF_CLIENT


def test_a_client_over_its_own_limit_pushes_nobody_out_when_it_is_crowded_either():
    """Or a single client could empty the house by knocking."""
    guests = GuestList(ConnectionLimits(max_connections=10, max_per_client=1), BUSY)
    entered = []
    for number in range(9):
        peer = peer_from(f"192.0.2.{number}", 1)
        assert guests.admit(peer) is Admission.ADMITTED
        entered.append(FakeGuest(peer))
        guests.entered(entered[-1])
    for number in range(9):
        assert guests.admit(peer_from("192.0.2.8", number)) is Admission.TOO_MANY_OF_CLIENT
    assert [guest.ended for guest in entered] == [[]] * 9


def test_a_place_is_free_again_when_its_guest_has_left():
    guests, entered = crowd(1, limit=1, is_idle=False)
    assert guests.admit(peer_from("192.0.2.2", 1)) is Admission.TOO_MANY
    guests.left(entered[0])
    assert len(guests) == 0
    assert guests.admit(peer_from("192.0.2.2", 1)) is Admission.ADMITTED


def test_guests_may_leave_while_all_are_asked_to_go():
    guests, entered = crowd(5, limit=10)
    for guest in guests:
        guests.left(guest)
    assert len(guests) == 0
    assert len(entered) == 5


def test_a_burst_is_let_in_although_nobody_who_was_sent_away_is_gone_yet():
    guests, entered = crowd(9, limit=10)
    for number in range(9):
        peer = peer_from("192.0.2.2", number + 1)
        assert guests.admit(peer) is Admission.ADMITTED
        guests.entered(FakeGuest(peer, last_heard_at=100.0 + number))
    assert [len(guest.ended) for guest in entered] == [1] * 9
    for guest in entered:
        guests.left(guest)
    assert len(guests) == 9
    assert guests.admit(peer_from("192.0.2.3", 1)) is Admission.ADMITTED


def test_who_speaks_after_the_walk_that_found_it_stays():
    guests, entered = crowd(90, limit=100)
    guests.admit(peer_from("192.0.2.2", 1))
    assert entered[0].ended
    entered[1].last_heard_at = 1000.0
    guests.admit(peer_from("192.0.2.2", 2))
    assert not entered[1].ended and entered[2].ended


def test_a_flood_of_newcomers_costs_no_walk_over_everybody_for_each():
    looked = []

    class Counted(FakeGuest):
        def __getattribute__(self, name):
            if name == "is_stranger":
                looked.append(self)
            return super().__getattribute__(name)

    for is_idle in (True, False):
        guests = GuestList(ConnectionLimits(max_connections=1000, max_per_client=1000), BUSY)
        for number in range(950):
            peer = peer_from("192.0.2.1", number + 1)
            guests.admit(peer)
            guests.entered(Counted(peer, last_heard_at=float(number), is_idle=is_idle or number % 2 == 0))
        looked.clear()
        for number in range(500):
            guests.admit(peer_from("192.0.2.2", number + 1))
        # One by one it would be half a million.
        assert len(looked) < 20_000


def test_when_descriptors_run_out_a_share_of_the_idle_goes_at_once():
    guests, entered = crowd(50, limit=1000)
    entered[0].is_stranger = False
    entered[1].is_idle = False
    assert guests.send_away(0.1) == 4
    assert [number for number, guest in enumerate(entered) if guest.ended] == [2, 3, 4, 5]
    assert guests.send_away(0.001) == 1


def test_when_nobody_may_go_nobody_is_sent_away():
    guests, _ = crowd(5, limit=10, is_idle=False)
    assert guests.send_away(0.5) == 0


# --- content in memory ------------------------------------------------------------------------------------------------

HALF = 512 << 10
PLACES = MAX_HELD_OCTETS // HALF


def test_when_content_fills_the_memory_strangers_lose_theirs_whose_began_first():
    guests, entered = crowd(PLACES + 3, limit=1000)
    entered[0].is_stranger = False
    entered[1].is_answering = True
    for guest in entered:
        guests.holds(guest, HALF // 2)
        guests.holds(guest, HALF)
    gone = [number for number, guest in enumerate(entered) if guest.ended]
    assert gone == [2, 3, 4]
    assert entered[2].ended == [(BUSY, EVICTED_IN_CONTENT)]


def test_content_that_ended_makes_room():
    guests, entered = crowd(PLACES * 3, limit=1000)
    for number, guest in enumerate(entered):
        guests.holds(guest, HALF)
        if number % 2:
            guests.holds(guest, 0)
        else:
            guests.left(guest)
    assert not any(guest.ended for guest in entered)


def test_nobody_goes_when_only_our_own_people_fill_the_memory():
    guests, entered = crowd(PLACES + 1, limit=1000, is_stranger=False)
    for guest in entered:
        guests.holds(guest, HALF)
    assert not any(guest.ended for guest in entered)
