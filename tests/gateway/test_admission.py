"""Who may come in, told by the clock alone: nothing here opens a socket."""

import dataclasses
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.admission import Admission, Limits, Pace, Place, Refusal, Visit
from gateway.penalties import Penalties, Record, source

HERE, THERE = "192.0.2.1", "198.51.100.7"
NO_PENALTIES = Penalties(maximum=0.0)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def come(admission: Admission, address: str = HERE) -> Visit:
    visit = admission.arrive(address)
    assert isinstance(visit, Visit), visit
    return visit


def log_in(admission: Admission, address: str = HERE, key: str = "k") -> Visit:
    visit = come(admission, address)
    assert admission.log_in(visit, key) is None
    return visit


def fail(admission: Admission, address: str = HERE) -> str | None:
    visit = come(admission, address)
    admission.attempt(visit)
    return admission.leave(visit)


@pytest.mark.parametrize("waiting", [10, 12, 15, 19, 20, 25])
def test_the_chance_of_a_drop_grows_from_the_rate_to_all(clock: Clock, waiting: int) -> None:
    limits = Limits(startups_begin=10, startups_rate=30, startups_full=20, startups_per_source=99)
    chance = [1.0]
    admission = Admission(limits, clock, lambda: chance[0])
    for _ in range(min(waiting, 20)):
        come(admission)
    percent = 100.0 if waiting >= 20 else 30 + 70 * (waiting - 10) / 10
    chance[0] = percent / 100 - 0.001
    assert admission.arrive(HERE) is Refusal.STARTUPS
    chance[0] = percent / 100 + 0.001
    assert isinstance(admission.arrive(HERE), Visit) == (percent < 100)


def release(places: list[Place]) -> None:
    for place in places:
        place.release()


def refused(admission: Admission, visit: Visit) -> str | None:
    """Open a session for good; return why not, if so."""
    place = admission.open_session(visit)
    return place if isinstance(place, str) else None


def test_who_logged_in_or_left_makes_room(clock: Clock) -> None:
    admission = Admission(Limits(startups_begin=2, startups_full=2, known_seconds=0), clock)
    first, second = come(admission), come(admission)
    assert admission.arrive(HERE) is Refusal.STARTUPS
    admission.log_in(first, "k")
    come(admission)
    assert admission.arrive(THERE) is Refusal.STARTUPS
    admission.leave(second)
    admission.leave(second)
    come(admission)
    assert admission.arrive(THERE) is Refusal.STARTUPS


def test_strangers_do_not_take_the_room_of_known_sources(clock: Clock) -> None:
    limits = Limits(startups_begin=3, startups_full=3, penalties=NO_PENALTIES)
    admission = Admission(limits, clock)
    admission.leave(log_in(admission, HERE))
    for number in range(3):
        come(admission, f"203.0.113.{number}")
    assert admission.arrive(THERE) is Refusal.STARTUPS
    come(admission, HERE)


def test_one_source_gets_only_its_share(clock: Clock) -> None:
    limits = Limits(startups_per_source=2, connections_per_source=3)
    admission = Admission(limits, clock)
    first, _ = come(admission), come(admission)
    assert admission.arrive(HERE) is Refusal.SOURCE_STARTUPS
    come(admission, THERE)
    admission.log_in(first, "k")
    third = come(admission)
    admission.log_in(third, "l")
    assert admission.arrive(HERE) is Refusal.SOURCE_CONNECTIONS
    admission.leave(first)
    come(admission)


def test_a_known_source_s_half_open_connections_make_room_for_the_next(clock: Clock) -> None:
    chance = [0.5]
    admission = Admission(Limits(startups_per_source=3), clock, lambda: chance[0])
    admission.leave(log_in(admission))
    hung_up = list[str]()
    visits = [come(admission) for _ in range(3)]
    for name, visit in zip("abc", visits, strict=True):
        visit.hang_up = lambda name=name: hung_up.append(name)  # type: ignore[misc]
    # Whoever has shown the key of a rental stays.
    visits[1].shown = "k"
    come(admission)
    assert hung_up == ["c"]
    assert admission.leave(visits[2]) is None
    chance[0] = 0.0
    later = [come(admission)]
    assert hung_up == ["c", "a"]
    assert admission.log_in(visits[1], "k") is None
    later.append(come(admission))
    for visit in later:
        visit.shown = "k"
    last = come(admission)
    last.shown = "k"
    assert admission.arrive(HERE) is Refusal.SOURCE_STARTUPS
    # Strangers' are kept: they have penalties to fear.
    for _ in range(3):
        come(admission, THERE)
    assert admission.arrive(THERE) is Refusal.SOURCE_STARTUPS


def test_who_shows_one_key_over_and_over_locks_nobody_out(clock: Clock) -> None:
    """As a fool with a rental of his own can, or whoever knows a public key."""
    admission = Admission(Limits(startups_per_source=10), clock)
    admission.leave(log_in(admission))
    others = come(admission)
    others.shown = "another"
    hung_up = list[int]()
    for number in range(9):
        visit = come(admission)
        visit.hang_up = lambda number=number: hung_up.append(number)  # type: ignore[misc]
        visit.shown = "known"
    for _ in range(3):
        come(admission).shown = "another"
    assert len(hung_up) == 3
    assert set(hung_up) <= set(range(5))


def test_a_turn_that_is_given_back_is_the_next_one_s(clock: Clock) -> None:
    admission = Admission(Limits(key_exchanges_per_second=1), clock)
    visits = [come(admission) for _ in range(6)]
    for visit in visits:
        admission.key_exchange_delay(visit)
    for visit in visits[1:]:
        admission.give_key_exchange_back(visit)
    assert admission.key_exchange_delay(come(admission)) == pytest.approx(1)


def test_sessions_have_a_rate_for_each_rental_whoever_left_and_came_again(clock: Clock) -> None:
    admission = Admission(Limits(sessions_per_key=3, sessions_per_second=2), clock)
    clock.now += 100
    delays = [admission.session_delay("one") for _ in range(5)]
    assert delays == pytest.approx([0, 0, 0, 0.5, 1])
    assert admission.session_delay("other") == 0
    visit = log_in(admission, HERE)
    admission.leave(visit)
    assert admission.session_delay("one") == pytest.approx(1.5)
    clock.now += 100
    assert admission.session_delay("one") == 0


def test_rekeys_have_a_rate_for_each_key_over_all_its_connections(clock: Clock) -> None:
    admission = Admission(Limits(rekeys_per_second=2), clock)
    one, two, other = log_in(admission), log_in(admission, THERE), log_in(admission, key="l")
    delays = [admission.rekey_delay(visit) for visit in (one, two, one, two)]
    assert delays == pytest.approx([0, 0, 0.5, 1.0])
    assert admission.rekey_delay(other) == 0
    for visit in (one, two, other):
        admission.leave(visit)
    assert not admission._rekeys


def test_failures_add_up_and_run_out(clock: Clock) -> None:
    admission = Admission(Limits(), clock)
    assert [fail(admission) for _ in range(4)] == [None, None, None, HERE + "/32"]
    assert admission.arrive(HERE) is Refusal.PENALTY
    come(admission, THERE)
    clock.now += 19.9
    assert admission.arrive(HERE) is Refusal.PENALTY
    clock.now += 0.2
    assert fail(admission) is None
    come(admission)


def test_a_penalty_depends_on_how_it_ended(clock: Clock) -> None:
    limits = Limits(penalties=Penalties(no_login=1, refused=5, too_slow=10, minimum=0))
    for attempts, waited, seconds in ((0, 0.0, 1), (1, 0.0, 5), (1, 60.0, 10), (0, 61.0, 10)):
        admission = Admission(limits, clock)
        visit = come(admission)
        for _ in range(attempts):
            admission.attempt(visit)
        clock.now += waited
        assert admission.leave(visit) == HERE + "/32"
        clock.now += seconds - 0.1
        assert admission.arrive(HERE) is Refusal.PENALTY
        clock.now += 0.2
        come(admission)


def test_nobody_is_shut_out_for_longer_than_the_maximum(clock: Clock) -> None:
    limits = Limits(penalties=Penalties(refused=5, minimum=15, maximum=30))
    admission = Admission(limits, clock)
    visits = [come(admission) for _ in range(20)]
    for visit in visits:
        admission.attempt(visit)
        admission.leave(visit)
    assert admission.arrive(HERE) is Refusal.PENALTY
    clock.now += 30.1
    come(admission)


def test_an_address_somebody_logged_in_from_is_not_shut_out(clock: Clock) -> None:
    admission = Admission(Limits(known_seconds=3600), clock)
    admission.leave(log_in(admission))
    # The fool next door.
    for _ in range(50):
        assert fail(admission) in (None, HERE + "/32")
    log_in(admission)
    clock.now += 3601
    for _ in range(4):
        fail(admission)
    assert admission.arrive(HERE) is Refusal.PENALTY


def test_an_address_is_known_again_after_a_restart(clock: Clock) -> None:
    admission = Admission(Limits(known_seconds=3600), clock)
    admission.remember(HERE, 3000)
    admission.remember(THERE, 3700)
    admission.remember("nonsense", 0)
    for address in (HERE, THERE):
        for _ in range(4):
            fail(admission, address)
    come(admission, HERE)
    assert admission.arrive(THERE) is Refusal.PENALTY
    clock.now += 601
    assert fail(admission, HERE) is None


def test_exempt_networks_know_neither_penalties_nor_shares(clock: Clock) -> None:
    exempt = (ip_network("192.0.2.0/24"), ip_network("2001:db8::/32"))
    limits = Limits(
        startups_per_source=1, connections_per_source=1, sessions_per_source=1, exempt=exempt
    )
    admission = Admission(limits, clock)
    for address in (HERE, "192.0.2.200", "2001:db8:5::1", "::ffff:192.0.2.9"):
        for _ in range(10):
            assert fail(admission, address) is None
        for _ in range(3):
            visit = log_in(admission, address)
            assert [refused(admission, visit) for _ in range(2)] == [None, None]
    come(admission, "192.0.3.1")
    assert admission.arrive("192.0.3.1") is Refusal.SOURCE_STARTUPS


def test_limits_per_key_whatever_the_address(clock: Clock) -> None:
    admission = Admission(Limits(connections_per_key=2, sessions_per_key=3), clock)
    one, two = log_in(admission, HERE), log_in(admission, THERE)
    third = come(admission, THERE)
    assert admission.log_in(third, "k") == "at most 2 connections with one key"
    assert admission.log_in(third, "other") is None
    places = [admission.open_session(v) for v in (one, one, two)]
    assert admission.open_session(two) == "at most 3 sessions with one key"
    assert refused(admission, third) is None
    for place in places[:2]:
        assert isinstance(place, Place)
        # Its channel has it, and its life.
        place.hold()
        place.release()
        assert refused(admission, two) is not None
        # Its command was ended after its client had left.
        admission.leave(one)
        assert refused(admission, two) is not None
        place.release()
        assert refused(admission, two) is None


def test_limits_per_source_whatever_the_key(clock: Clock) -> None:
    admission = Admission(Limits(sessions_per_source=2), clock)
    one, two = log_in(admission, key="k"), log_in(admission, key="l")
    assert [refused(admission, v) for v in (one, two)] == [None] * 2
    assert admission.open_session(two) == "at most 2 sessions from one address"
    assert refused(admission, log_in(admission, THERE)) is None


def test_attempts_are_counted_per_connection(clock: Clock) -> None:
    admission = Admission(Limits(attempts=3), clock)
    visit = come(admission)
    assert [admission.attempt(visit) for _ in range(5)] == [True, True, True, False, False]
    assert admission.attempt(come(admission))


def test_key_exchanges_begin_at_a_rate() -> None:
    pace = Pace(10)
    delays = [pace.delay(100.0) for _ in range(30)]
    # A second's worth at once, then one every tenth.
    assert delays[:10] == pytest.approx([0] * 10, abs=1e-6)
    assert delays[10:] == pytest.approx([(n + 1) / 10 for n in range(20)])
    assert pace.delay(200.0) == 0


def test_known_sources_do_not_queue_behind_strangers(clock: Clock) -> None:
    admission = Admission(Limits(key_exchanges_per_second=1), clock)
    admission.leave(log_in(admission, HERE))
    stranger, friend = come(admission, THERE), come(admission, HERE)
    delays = [admission.key_exchange_delay(stranger) for _ in range(5)]
    assert delays[-1] == pytest.approx(4)
    assert admission.key_exchange_delay(friend) == 0


@pytest.mark.parametrize(
    ("address", "who"),
    [
        ("192.0.2.1", "192.0.2.1/32"),
        ("::ffff:192.0.2.1", "192.0.2.1/32"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", None),
        ("a name", None),
    ],
)
def test_who_an_address_stands_for(address: str, who: str | None) -> None:
    network = source(address)
    assert (str(network) if network else None) == who


def test_a_flood_from_everywhere_does_not_fill_the_memory() -> None:
    record = Record(Penalties(minimum=0), 3600, capacity=100)
    for number in range(10_000):
        record.penalise(f"p{number}", 5, 0.0)
        record.welcome(f"k{number}", 0.0)
    assert sum(record.shut_out(f"p{number}", 1.0) for number in range(10_000)) == 100
    assert sum(record.known(f"k{number}", 1.0) for number in range(10_000)) == 100
    assert record.shut_out("p9999", 1.0)


ACTIONS = st.sampled_from(["come", "log_in", "open", "close", "leave", "leave_again", "wait"])


@given(st.lists(st.tuples(ACTIONS, st.integers(0, 5), st.integers(0, 2))))
def test_counts_come_back_to_nothing(steps: list[tuple[str, int, int]]) -> None:
    clock = Clock()
    limits = Limits(penalties=NO_PENALTIES)
    admission = Admission(limits, clock)
    visits: list[Visit] = []
    places: list[Place] = []
    for action, which, other in steps:
        visit = visits[which % len(visits)] if visits else None
        if action == "come":
            visits.append(come(admission, f"192.0.2.{other}"))
        elif action == "wait":
            clock.now += other
        elif visit is None:
            continue
        elif action == "log_in" and visit.key is None and not visit.over:
            admission.log_in(visit, f"k{other}")
        elif action == "open" and visit.key is not None and not visit.over:
            place = admission.open_session(visit)
            assert isinstance(place, Place)
            places.append(place)
        elif action == "close":
            release(places[-1:])
            del places[-1:]
        elif action.startswith("leave"):
            admission.leave(visit)
    for visit in visits:
        admission.leave(visit)
    release(places)
    assert admission._starting == {True: 0, False: 0}
    assert not admission._connections
    assert not admission._sessions
    assert not admission._starting_from


def test_the_defaults_let_a_laboratory_in(clock: Clock) -> None:
    admission = Admission(dataclasses.replace(Limits(), exempt=()), clock)
    visits = [come(admission) for _ in range(Limits.startups_per_source)]
    for number, visit in enumerate(visits):
        assert admission.key_exchange_delay(visit) < 1
        assert admission.log_in(visit, f"k{number}") is None
