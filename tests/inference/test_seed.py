"""Seeds of requests: stable, independent, and only where the caller gave none."""

from inference.request import Request, Sampling
from inference.seed import seed_for, seeded


def test_a_seed_is_the_same_on_every_machine() -> None:
    assert seed_for(7, "voter/1", "message-3", 0) == 8842665555135278498


def test_different_names_give_different_seeds() -> None:
    names = [("ab", "c"), ("a", "bc"), ("abc",), ("a", "b", "c"), ("1", 1), (1, "1", ""), ("2:ab", "c")]
    seeds = {seed_for(run, *each) for run in (0, 1, 10) for each in names}
    assert len(seeds) == 3 * len(names)
    assert all(0 <= seed < 1 << 63 for seed in seeds)


def test_only_a_request_that_samples_without_a_seed_gets_one() -> None:
    free = Request.of("x")
    given = seeded(free, 7, "a", "m")
    assert given.sampling.seed == seed_for(7, "a", "m")
    assert given == seeded(free, 7, "a", "m")
    own = Request.of("x", sampling=Sampling(seed=3))
    greedy = Request.of("x", sampling=Sampling(temperature=0))
    assert seeded(own, 7, "a") is own
    assert seeded(greedy, 7, "a") is greedy
