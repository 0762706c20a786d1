"""Small run folders made by hand: the shapes that a report and a comparison must bear.

`make_run` writes a folder as a run leaves it; what a test does not name has plain values. Nothing here is
random: a measure of a trial is a closed form of arm, replicate and round.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cluster.tables import arm_key, write_messages, write_metrics

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&$\\frac{x}$\u202e\x07\U0001f41d"
"""Text that an agent might write: markup, attribute ends, mathematics, a direction mark, a bell, an emoji."""


def make_trial(
    number: int, arm: Mapping[str, Any] | None = None, replicate: int = 0, **parts: Any
) -> dict[str, Any]:
    """A result.json as a trial leaves it."""
    trial = {
        "trial": number,
        "arm": dict(arm or {}),
        "replicate": replicate,
        "seed": 1000 + replicate,
        "fingerprint": f"{number:02x}" * 16,
        "now": 60,
        "seconds": 1.25,
        "quiet": True,
        "messages": 12_400,
        "agents": 121,
        "counts": {
            "sent": 12_500,
            "delivered": 12_400,
            "dropped": 90,
            "dead_letters": {"unknown address": 10},
        },
        "traffic": [
            ["auctioneer", "bidder", 6_000],
            ["bidder", "auctioneer", 6_100],
            ["bidder", "bidder", 300],
        ],
        "failures": [],
        "results": {},
        "topology": None,
        "recoveries": [],
        "dashboard": None,
    }
    return trial | parts


def make_metrics(trial: Mapping[str, Any], rounds: int = 60) -> list[dict[str, Any]]:
    """Rows of three measures: a curve by arm and replicate, a large count, and a share (0 or 1)."""
    strength = sum(value for value in trial["arm"].values() if isinstance(value, (int, float)))
    shift = [0.0, 1.0, -1.0, 0.5, -0.5][trial["replicate"] % 5]
    rows = []
    for now in range(rounds):
        decay = math.exp(-now / 15)
        values = {
            "load_imbalance": 1 + 2 * strength + (3 + shift) * decay + 0.05 * shift,
            "tasks_done": 12_000 * (1 - decay) * (1 - strength) + 100 * shift,
            "consensus_reached": float(now > 20 and not (strength > 0 and shift < 0)),
        }
        rows += [_row(trial, now, measure, value) for measure, value in values.items()]
    return rows


def _row(trial: Mapping[str, Any], now: float, measure: str, value: float) -> dict[str, Any]:
    return {
        "trial": trial["trial"], "arm": arm_key(trial["arm"]),
        "replicate": trial["replicate"], "seed": trial["seed"], "now": now, "measure": measure,
        "count": 1, "sum": value, "mean": value, "minimum": value, "maximum": value,
    }  # fmt: skip


def make_run(
    folder: Path,
    ended: Sequence[Mapping[str, Any]],
    metrics: Sequence[Mapping[str, Any]] | None = None,
    messages: Sequence[Mapping[str, Any]] | None = None,
    status: Mapping[str, Any] | None = None,
    **manifest: Any,
) -> Path:
    """Writes a run's folder with these ended trials; no table of metrics if None. Returns the folder."""
    planned = [{key: trial[key] for key in ("trial", "arm", "replicate", "seed")} for trial in ended]
    defaults = {
        "experiment": "task_auction",
        "description": "Bidders bid for tasks while messages are lost. How much loss can the auction bear?",
        "run": folder.name,
        "configuration": {
            "swarm": {
                "schedule": "rounds",
                "roles": {"bidder": {"class": "experiments.auction:Bidder", "count": 120}, "auctioneer": {}},
            },
            "faults": [{"kind": "drop", "share": 0.1}],
        },
        "configuration_hash": "7c9e1d0b44aa",
        "file": "experiments/task_auction.yaml",
        "command": "rayswarm run experiments/task_auction.yaml",
        "seed": 7,
        "trials": planned,
        "versions": {"python": "3.11.9", "rayswarm": "0.1.0", "ray": "2.60.0"},
        "git": {"commit": "49d8dcb0c0ffee", "changed": False},
        "machine": {"cpus": 2, "memory_bytes": 25_769_803_776, "platform": "linux x86_64"},
        "created": "2026-01-02T03:04:05Z",
    }
    folder.mkdir(parents=True)
    _write(folder / "manifest.json", defaults | manifest)
    _write(folder / "status.json", dict(status or {"state": "done"}))
    for trial in ended:
        (folder / "trials" / f"{trial['trial']:03d}").mkdir(parents=True)
        _write(folder / "trials" / f"{trial['trial']:03d}" / "result.json", dict(trial))
    if metrics is not None:
        write_metrics(folder / "metrics.parquet", metrics)
    if messages is not None:
        write_messages(folder / "messages.parquet", messages)
    return folder


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def make_sweep(folder: Path, **manifest: Any) -> Path:
    """Three arms of five replicates with a topology, failures, cost and recoveries."""
    trials = []
    for index, loss in enumerate((0.0, 0.1, 0.3)):
        for replicate in range(5):
            number = 5 * index + replicate
            results = {
                "makespan_ratio": 1.02 + loss + 0.01 * replicate,
                "all_sold": loss < 0.2 or replicate > 1,
            }
            trials.append(make_trial(number, {"faults.drop.share": loss}, replicate, results=results))
    ring = [[f"bidder/{i}", f"bidder/{(i + 1) % 120}"] for i in range(120)]
    ring += [["auctioneer", f"bidder/{i}"] for i in range(0, 120, 6)]
    trials[0]["topology"] = {"describe": "small world: 120 bidders, 4 neighbours, rewired 0.1", "edges": ring}
    trials[14]["failures"] = [
        {
            "address": f"bidder/{i}",
            "message_id": f"m-{i}",
            "error": 'Traceback (most recent call last):\n  File "auction.py", line 7, in on_message\n'
            f"ValueError: a bid of {i} is below zero",
        }
        for i in range(23)
    ]
    trials[3]["recoveries"] = [{"cell": 1, "round": 31, "replayed": 1200, "seconds": 0.41}]
    trials[0]["cost"] = {"tokens": {"prompt": 1_204_000, "completion": 88_123}, "money_usd": 1.42}
    metrics = [row for trial in trials for row in make_metrics(trial)]
    messages = [
        {
            "trial": 0,
            "now": float(i),
            "sender": "bidder/1",
            "recipient": "auctioneer",
            "kind": kind,
            "bytes": 80 + i,
        }
        for i, kind in enumerate(["data", "data", "reply", "data"])
    ]
    return make_run(folder, trials, metrics, messages, **manifest)


def make_single(folder: Path, results: Mapping[str, Any] | None = None, **manifest: Any) -> Path:
    """One trial with one of each kind of result."""
    survey: dict[str, Any] = {
        "modules": 1_204,
        "lines": 512_930,
        "balanced": True,
        "makespan_over_bound": 1.0132,
        "most_depended_upon": [
            ["sys", 410],
            ["os", 288],
            ["re", 171],
            ["collections", 160],
            ["typing", 12.5],
        ],
        "slowest_modules": [
            {"module": "pydoc_data.topics", "lines": 13_000, "seconds": 0.41, "why": "one long literal"},
            {"module": "_pydecimal", "lines": 6_339, "seconds": 0.22, "why": None},
        ],
        "auction": {"rounds": 14, "announced": 1_204, "unsold": 0},
        "summary": "Nearly everything depends on sys.\nNothing depends on antigravity.",
        "odd": [1, [2, {"three": 3}]],
    }
    trial = make_trial(0, results=survey if results is None else results, dashboard="http://127.0.0.1:8265")
    return make_run(folder, [trial], make_metrics(trial), **manifest)
