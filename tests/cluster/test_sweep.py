from cluster.sweep import Trial, arms_of, seeds_of, trials_of

SWEEP = {"swarm.cells": [1, 2], "input": ["a", "b", "c"]}


def test_every_combination_is_an_arm_and_the_last_path_changes_fastest() -> None:
    arms = list(arms_of(SWEEP))
    assert arms[:4] == [
        {"swarm.cells": 1, "input": "a"},
        {"swarm.cells": 1, "input": "b"},
        {"swarm.cells": 1, "input": "c"},
        {"swarm.cells": 2, "input": "a"},
    ]
    assert len(arms) == 6


def test_without_a_sweep_there_is_one_empty_arm() -> None:
    assert trials_of({}, 7, 1) == [Trial(0, {}, 0, seeds_of(7, 1)[0])]


def test_replicates_are_paired_by_seed_across_arms() -> None:
    trials = trials_of(SWEEP, 3, 4)
    assert [trial.number for trial in trials] == list(range(24))
    by_replicate = {
        trial.replicate: {t.seed for t in trials if t.replicate == trial.replicate} for trial in trials
    }
    assert all(len(seeds) == 1 for seeds in by_replicate.values())
    assert len({next(iter(seeds)) for seeds in by_replicate.values()}) == 4


def test_more_repeats_add_seeds_and_change_none() -> None:
    assert seeds_of(11, 10)[:4] == seeds_of(11, 4)
    assert seeds_of(11, 4) != seeds_of(12, 4)


def test_seeds_are_exact_in_every_reader_of_json() -> None:
    assert all(0 <= seed < 2**53 for seed in seeds_of(0, 1000))
    assert len(set(seeds_of(0, 1000))) == 1000
