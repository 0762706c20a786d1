"""The router, alone and over simulated replicas: affinity within a bound, and replicas that come, go and die."""

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.replica_simulation import Costs, LeastLoaded, Result, Simulation, Sticky
from inference.errors import ConfigurationError, EngineDead
from inference.message import ChatMessage
from inference.request import Request, Sampling, Tool
from inference.router import Router, RoutingLimits, prefix_of

NAMES = ("r/0", "r/1", "r/2", "r/3")
COSTS = Costs()
COST = COSTS.prompt_tokens + COSTS.answer_tokens


def route(router: Router, *requests: Any, cost: float = 1.0) -> list[str]:
    """Each request is (number, persona)."""
    return [router.route(number, persona, "", cost) for number, persona in requests]


def test_a_prefix_goes_home_and_new_ones_spread_evenly() -> None:
    router = Router(NAMES)
    homes = {}
    for number in range(100):
        (homes[number],) = route(router, (number, f"p{number}"))
        router.finish(number)
    assert sorted(list(homes.values()).count(name) for name in NAMES) == [25] * 4
    for number in range(100):
        assert route(router, (number, f"p{number}")) == [homes[number]]
        router.finish(number)


def test_a_conversation_stays_where_it_is() -> None:
    router = Router(NAMES)
    first = router.route(0, "persona", "talk", 1.0)
    router.finish(0)
    for number in range(1, 5):
        router.route(number, f"other {number}", "", 5.0)
    assert router.route(9, "persona", "talk", 1.0) == first
    assert router.route(10, "another persona", "talk", 1.0) == first


def test_what_has_no_prefix_goes_to_the_least_loaded() -> None:
    router = Router(NAMES)
    assert route(router, *((number, "") for number in range(8))) == [*NAMES, *NAMES]


def test_a_home_that_is_too_busy_gets_a_second_and_no_more_than_the_limit() -> None:
    router = Router(NAMES, RoutingLimits(busier_times=1.0, busier_by=2.0, homes=2))
    placed = route(router, *((number, "hot") for number in range(20)))
    assert placed[:3] == ["r/0"] * 3
    assert set(placed) == {"r/0", "r/1", "r/2", "r/3"}
    assert len(router._homes["p\x1fhot"]) == 2


def test_the_bound_is_loose_and_is_kept() -> None:
    limits = RoutingLimits(busier_times=2.0, busier_by=3.0)
    router = Router(NAMES, limits)
    rng, flying = Random(5), list[int]()
    for number in range(2_000):
        if flying and rng.random() < 0.5:
            router.finish(flying.pop(rng.randrange(len(flying))))
        before = router.loads
        (name,) = route(router, (number, f"p{int(rng.expovariate(0.5))}"))
        flying.append(number)
        assert before[name] <= limits.busier_times * min(before.values()) + limits.busier_by


def test_a_replica_that_is_added_takes_new_prefixes_and_relieves_busy_ones() -> None:
    router = Router(("r/0",), RoutingLimits(busier_times=1.0, busier_by=1.0))
    route(router, *((number, "hot") for number in range(5)))
    router.add("r/1")
    assert route(router, (10, "new"), (11, "hot")) == ["r/1", "r/1"]


def test_what_ran_on_a_replica_that_died_is_told_in_order_and_goes_elsewhere() -> None:
    router = Router(NAMES)
    placed = dict(enumerate(route(router, *((number, f"p{number % 8}") for number in range(16)))))
    lost = router.remove("r/1")
    assert lost == [number for number, name in placed.items() if name == "r/1"]
    again = route(router, *((number, f"p{number % 8}") for number in lost))  # type: ignore[operator]  # numbers are integers here
    assert "r/1" not in again
    router.finish(lost[0])
    router.finish(lost[0])  # it may end twice
    assert sum(router.loads.values()) == 15


def test_a_draining_replica_gets_nothing_and_keeps_what_it_has() -> None:
    router = Router(("r/0", "r/1"))
    route(router, (0, "a"), (1, "b"))
    router.drain("r/0")
    assert route(router, (2, "a"), (3, "c")) == ["r/1", "r/1"]
    assert router.loads["r/0"] == 1
    router.finish(0)
    assert router.remove("r/0") == []


def test_without_replicas_nothing_happened() -> None:
    for router in (Router(), Router(("r/0",))):
        if router.loads:
            router.drain("r/0")
        with pytest.raises(EngineDead, match="no replica: add one") as caught:
            route(router, (0, "a"))
        assert caught.value.definite


def test_the_table_is_bounded_and_forgets_what_was_asked_for_longest_ago() -> None:
    router = Router(NAMES, RoutingLimits(prefixes=10))
    for number in range(100):
        route(router, (number, f"p{number}"))
        router.finish(number)
    assert len(router._homes) == 10
    assert sum(router._tenants.values()) == 10
    assert f"p\x1fp{90}" in router._homes


@pytest.mark.parametrize(
    "act",
    [
        lambda router: router.add("r/0"),
        lambda router: router.remove("r/9"),
        lambda router: router.drain("r/9"),
        lambda _router: RoutingLimits(busier_times=0.5),
        lambda _router: RoutingLimits(homes=0),
    ],
)
def test_what_makes_no_sense_is_refused(act: Any) -> None:
    with pytest.raises(ConfigurationError):
        act(Router(NAMES))


@given(st.integers(0, 10**6))
def test_whatever_happens_loads_and_tenants_add_up(seed: int) -> None:
    rng = Random(seed)
    router, flying, there, made = Router(("0", "1")), dict[int, str](), ["0", "1"], 2
    for number in range(300):
        act = rng.random()
        if act < 0.5:
            name = router.route(
                number, f"p{rng.randrange(20)}", rng.choice(["", f"c{rng.randrange(9)}"]), 1.0
            )
            assert name in there, f"seed {seed}"
            flying[number] = name
        elif act < 0.9 and flying:
            ended = rng.choice(sorted(flying))
            router.finish(ended)
            del flying[ended]
        elif act < 0.95:
            router.add(str(made))
            there.append(str(made))
            made += 1
        elif len(there) > 1:
            dead = there.pop(rng.randrange(len(there)))
            assert router.remove(dead) == [other for other, name in flying.items() if name == dead], seed
            flying = {other: name for other, name in flying.items() if name != dead}
        counts = {name: list(flying.values()).count(name) for name in there}
        assert router.loads == counts, f"seed {seed}"
        homes = [home for those in router._homes.values() for home in those]
        assert router._tenants == {name: homes.count(name) for name in there}, f"seed {seed}"


# --- Prefixes -------------------------------------------------------------------------------------------------


def test_a_prefix_is_the_system_message_and_the_tools_and_nothing_else() -> None:
    plain = Request.of("a", system="persona")
    same = Request.of("b", system="persona", sampling=Sampling(seed=4))
    assert prefix_of(plain) == prefix_of(same) != ""
    others = [
        Request.of("a", system="another"),
        Request.of("a", system="persona", tools=(Tool("f"),)),
        Request((ChatMessage.system("persona"), ChatMessage.system("more"), ChatMessage.user("a"))),
    ]
    assert len({prefix_of(request) for request in (plain, *others)}) == 4
    assert prefix_of(Request.of("a")) == ""


# --- Over simulated replicas ----------------------------------------------------------------------------------


def uniform(seed: int, personas: int = 200, requests: int = 3_000) -> list[int]:
    rng = Random(seed)
    return [rng.randrange(personas) for _ in range(requests)]


def simulated(router: Router, trace: list[int], held: int, costs: Costs = COSTS, **options: Any) -> Result:
    simulation = Simulation(tuple(router.loads), Sticky(router, COST), costs, held * costs.persona_tokens)
    return simulation.run(trace, 64, **options)


def without_affinity(trace: list[int], held: int) -> Result:
    return Simulation(NAMES, LeastLoaded(NAMES), COSTS, held * COSTS.persona_tokens).run(trace, 64)


def test_affinity_pays_where_caches_do_not_hold_all_personas() -> None:
    trace = uniform(1)
    sticky, least = simulated(Router(NAMES), trace, 60), without_affinity(trace, 60)
    assert sticky.hit_rate > 2 * least.hit_rate
    assert sticky.requests_per_second > 1.2 * least.requests_per_second
    counts = list(sticky.routed.values())
    assert max(counts) < 1.25 * min(counts)


def test_without_a_bound_worth_the_name_there_is_no_affinity() -> None:
    """The mutant: a bound so tight that a home is left at the least difference."""
    trace = uniform(1)
    tight = Router(NAMES, RoutingLimits(busier_times=1.0, busier_by=0.0, homes=1))
    assert simulated(tight, trace, 60).hit_rate < 0.6 * simulated(Router(NAMES), trace, 60).hit_rate


def test_a_persona_that_half_of_all_ask_for_is_not_one_replicas_alone() -> None:
    """On replicas that hold 16 requests at once; where one holds all 64, affinity without a bound does no harm."""
    few = Costs(slots=16)
    rng = Random(2)
    trace = [0 if rng.random() < 0.5 else persona for persona in uniform(2)]
    bound = simulated(Router(NAMES), trace, 60, few)
    unbound = simulated(Router(NAMES, RoutingLimits(busier_by=1e12)), trace, 60, few)
    assert max(bound.routed.values()) < 0.4 * len(trace) < max(unbound.routed.values())
    assert bound.p99_s < unbound.p99_s
    assert bound.requests_per_second > 1.2 * unbound.requests_per_second


def test_a_replica_that_dies_loses_no_request() -> None:
    router = Router(NAMES)

    def dying(simulation: Simulation, answered: int) -> None:
        if answered == 1_000:
            simulation.kill("r/2")
            for request in router.remove("r/2"):
                simulation.send(request)  # type: ignore[arg-type]  # requests are numbers here

    trace = uniform(3)
    result = simulated(router, trace, 60, between=dying)
    assert sum(result.routed.values()) == len(trace)
    assert result.routed["r/2"] < 0.5 * max(result.routed.values())
    assert set(router.loads.values()) == {0.0}


def test_a_replica_that_comes_is_used() -> None:
    router = Router(NAMES[:2])

    def growing(simulation: Simulation, answered: int) -> None:
        if answered == 500:
            simulation.add("r/9")
            router.add("r/9")

    trace = uniform(4)
    result = simulated(router, trace, 120, between=growing)
    assert result.routed["r/9"] > 0.5 * (len(trace) - 500) / 3


def test_a_simulation_is_the_same_again() -> None:
    trace = uniform(5)
    assert simulated(Router(NAMES), trace, 60) == simulated(Router(NAMES), trace, 60)
