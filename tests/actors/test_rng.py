"""An agent's draws are its own: fixed by seed, address and count, and by nothing else."""

import pickle
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from actors.rng import Rng, stream_key, unit

KEY = stream_key(7, "agent", "worker/3")


@given(st.lists(st.sampled_from(["a", "b", "c"]), max_size=30))
def test_the_draws_of_one_stream_do_not_depend_on_what_others_draw(order: list[str]) -> None:
    streams = {name: Rng(stream_key(1, name)) for name in "abc"}
    drawn: dict[str, list[float]] = {name: [] for name in "abc"}
    for name in order:
        drawn[name].append(streams[name].random())
    for name, numbers in drawn.items():
        alone = Rng(stream_key(1, name))
        assert numbers == [alone.random() for _ in numbers]


@given(st.integers(0, 50), st.integers(1, 20))
def test_the_count_of_draws_is_the_whole_state(before: int, after: int) -> None:
    first = Rng(KEY)
    for _ in range(before):
        first.random()
    second, third = Rng(KEY, first.draws), Rng(KEY)
    third.setstate(first.getstate())
    fourth = pickle.loads(pickle.dumps(first))  # noqa: S301 - made a moment ago
    expected = [first.getrandbits(32) for _ in range(after)]
    for other in (second, third, fourth):
        assert [other.getrandbits(32) for _ in range(after)] == expected


def test_the_draws_are_the_same_in_every_process_and_version() -> None:
    # Fixed here for ever: results that were published must come again.
    rng = Rng(KEY)
    drawn = [rng.random(), rng.randrange(10**6), rng.gauss(0, 1)]
    code = (
        "from actors.rng import Rng, stream_key; r = Rng(stream_key(7, 'agent', 'worker/3'));"
        "print([r.random(), r.randrange(10**6), r.gauss(0, 1)])"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(drawn) == "[0.8562247200202271, 735484, -1.2524298472153497]"


def test_streams_of_other_names_or_seeds_are_others() -> None:
    keys = [stream_key(s, *names) for s in (0, 1) for names in (("a",), ("b",), ("a", "b"), ("ab",), ())]
    assert len(set(keys)) == len(keys)
    assert len({Rng(key).getrandbits(64) for key in keys}) == len(keys)


def test_all_methods_of_random_work_and_touch_no_hidden_state() -> None:
    def draws(rng: Random) -> list[object]:
        shuffled = list(range(10))
        rng.shuffle(shuffled)
        return [
            rng.randint(1, 6), rng.randrange(0, 100, 7), rng.choice("abc"), rng.choices("abc", [1, 2, 3], k=5),
            rng.sample(range(100), 5), shuffled, rng.uniform(1, 2), rng.triangular(), rng.betavariate(2, 3),
            rng.expovariate(1.5), rng.gammavariate(2, 1), rng.gauss(0, 1), rng.lognormvariate(0, 1),
            rng.normalvariate(0, 1), rng.vonmisesvariate(0, 1), rng.paretovariate(3), rng.weibullvariate(1, 2),
            rng.randbytes(9), rng.getrandbits(200),
        ]  # fmt: skip

    one, two = Rng(KEY), Rng(KEY)
    assert draws(one) == draws(two)
    assert draws(one) != draws(Rng(KEY))
    for _ in range(3):
        one.gauss(0, 1)  # Random keeps half of a pair of normal draws; a stream must not
        two.setstate(one.getstate())
        assert draws(one) == draws(two)


@pytest.mark.parametrize("bits", [0, 1, 7, 32, 63, 64, 65, 127, 128, 129, 1000])
def test_any_number_of_bits_can_be_drawn(bits: int) -> None:
    rng = Rng(KEY)
    numbers = [rng.getrandbits(bits) for _ in range(200)]
    assert all(0 <= number < 2**bits for number in numbers)
    if bits:
        ones = sum(number.bit_count() for number in numbers)
        assert stats.binomtest(ones, 200 * bits).pvalue > 1e-6
    with pytest.raises(ValueError, match="0 or more"):
        rng.getrandbits(-1)


def test_draws_look_random() -> None:
    rng = Rng(KEY)
    numbers = np.array([rng.random() for _ in range(20_000)])
    assert stats.kstest(numbers, "uniform").pvalue > 1e-4
    assert abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 0.03
    sides = Counter(rng.randrange(6) for _ in range(12_000))
    assert stats.chisquare(list(sides.values())).pvalue > 1e-4
    assert stats.kstest([rng.gauss(3, 2) for _ in range(5000)], "norm", (3, 2)).pvalue > 1e-4


def test_first_draws_of_neighbouring_agents_look_independent() -> None:
    first = np.array([Rng(stream_key(1, "agent", f"worker/{n}")).random() for n in range(20_000)])
    assert stats.kstest(first, "uniform").pvalue > 1e-4
    assert abs(np.corrcoef(first[:-1], first[1:])[0, 1]) < 0.03


def test_a_generator_for_bulk_is_fixed_by_the_stream_and_takes_one_draw() -> None:
    one, two = Rng(KEY), Rng(KEY)
    assert one.generator().random(5).tolist() == two.generator().random(5).tolist()
    assert one.draws == 1
    assert one.generator().random(5).tolist() != two.generator().integers(0, 2, 5).tolist()
    many = [tuple(Rng(KEY, n).generator().integers(0, 2**63, 2)) for n in range(2000)]
    assert len(set(many)) == 2000


def test_generators_use_all_bits_of_their_draw() -> None:
    # An array of integers above and below 2^63 is one of floats to NumPy, which would drop the low bits.
    class Fixed(Rng):
        word = 0

        def _word(self) -> int:
            return self.word

    rng, drawn = Fixed(stream_key(0)), set()
    for word in (2**63, 2**63 + 1, 2**64 - 1, 2**64 - 2, 1, 2):
        rng.word = word
        drawn.add(tuple(rng.generator().integers(0, 2**63, 2)))
    assert len(drawn) == 6


@given(st.integers(), st.text(st.characters(exclude_categories=["Cs"])))
def test_a_draw_without_a_counter_is_fixed_by_its_values(number: int, text: str) -> None:
    drawn = unit(KEY, text, number)
    assert 0.0 <= drawn < 1.0
    assert drawn == unit(KEY, text, number)
    assert drawn != unit(KEY, text, number + 1)
