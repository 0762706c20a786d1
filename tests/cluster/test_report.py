"""The report of a run: whole, self-contained, honest, and safe whatever the run says."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from actors.errors import ConfigurationError
from cluster.report import write_report
from tests.cluster.run_fixture import HOSTILE, make_metrics, make_run, make_single, make_sweep, make_trial

VOID = {"meta", "link", "img", "br", "hr", "input", "base", "col"}


class Page(HTMLParser):
    """What a browser would find: elements with attributes, and the text. Fails on tags that do not close."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.html = path.read_text(encoding="utf-8")
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.pieces: list[str] = []
        self.feed(self.html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.pieces.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.pieces).split())

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)


def report(run: Path) -> Page:
    path = write_report(run)
    assert path == run / "report.html"
    return Page(path)


def assert_inert(page: Page) -> None:
    """Nothing in the page can run, load or leave it."""
    assert not {"script", "img", "iframe", "object", "embed", "link", "form", "base"} & {
        name for name, _ in page.elements
    }
    for _, attributes in page.elements:
        assert not any(name.startswith("on") or name == "src" for name in attributes)
        for name in ("href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith(("#", "http://127.0.0.1"))
    assert "@import" not in page.html
    assert "url(http" not in page.html
    assert "default-src 'none'" in page.html


def test_a_sweep_shows_each_arm_with_its_interval_method_and_n(tmp_path: Path) -> None:
    page = report(make_sweep(tmp_path / "sweep"))
    assert_inert(page)
    for text in (
        "Task auction", "15 of 15 planned", "186,000", "drop share = 0.1", "Load imbalance", "Makespan ratio",
        "100.0% (5 of 5) 56.6% to 100.0%", "60.0% (3 of 5) 23.1% to 88.2%", "Wilson score", "bootstrap",
        "Mean and 95% band (bootstrap) of n = 5 replicates.", "Hesterberg",
    ):  # fmt: skip
        assert text in page.text
    assert "seed 0" in page.text


def test_a_sweep_shows_traffic_faults_failures_cost_recoveries_and_topology(tmp_path: Path) -> None:
    page = report(make_sweep(tmp_path / "sweep"))
    for text in (
        "auctioneer \u2192 bidder", "90,000", "Dead letters: unknown address",
        "1,350", "23 handler failures; the first 20 are shown.", "ValueError: a bid of 19 is below zero",
        "121 agents, 140 connections; circular layout.", "Tokens: prompt", "1,204,000",
        "Replayed", "Kinds of message",
    ):  # fmt: skip
        assert text in page.text
    assert "a bid of 20 is" not in page.text
    assert page.count("circle") == 121


def test_how_to_reproduce_names_command_commit_versions_seeds_and_fingerprints(tmp_path: Path) -> None:
    page = report(make_sweep(tmp_path / "sweep"))
    for text in (
        "rayswarm run experiments/task_auction.yaml", "49d8dcb0c0ffee", "7c9e1d0b44aa", "Ray 2.60.0",
        "Memory 24 GiB", "1004", "0e" * 16, "schedule: rounds",
    ):  # fmt: skip
        assert text in page.text


def test_one_trial_shows_its_results_by_their_shape_and_claims_no_interval(tmp_path: Path) -> None:
    page = report(make_single(tmp_path / "single"))
    assert_inert(page)
    for text in (
        "Makespan over bound 1.013", "Balanced yes", "512,930", "sys 410", "one long literal",
        "Announced 1,204",
        "Nothing depends on antigravity.", '"three": 3', "One trial, so no band.",
        "One trial tells nothing of the spread", "none: one value",
    ):  # fmt: skip
        assert text.lower() in page.text.lower()
    assert ("a", {"href": "http://127.0.0.1:8265"}) in page.elements


def test_a_failed_run_without_measures_says_what_happened_and_what_is_missing(tmp_path: Path) -> None:
    run = make_run(
        tmp_path / "failed",
        [],
        status={"state": "failed", "error": "CellLost: cell 3 died 21 times"},
        trials=[{"trial": 0, "arm": {}, "replicate": 0, "seed": 1}],
    )
    page = report(run)
    assert_inert(page)
    for text in (
        "failed",
        "CellLost: cell 3 died 21 times",
        "0 of 1 planned",
        "Measures: this run has left none.",
    ):
        assert text in page.text
    assert "1 of 1 planned trials, which have not ended." in page.text


def test_a_manifest_alone_is_enough_for_a_page(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    page = report(tmp_path)
    assert_inert(page)
    assert "The run has not left its command." in page.text


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no manifest\.json"):
        write_report(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        write_report(tmp_path)


def test_parts_that_cannot_be_read_are_named_and_the_rest_is_shown(tmp_path: Path) -> None:
    run = make_single(tmp_path / "single")
    (run / "metrics.parquet").write_bytes(b"no parquet")
    (run / "trials" / "000" / "result.json").write_text("[]")
    page = report(run)
    assert "not a readable Parquet file" in page.text
    assert "result.json in 000 holds no object" in page.text


def hostile_run(folder: Path) -> Path:
    """A run in which every text is an attack."""
    results: dict[str, Any] = {
        HOSTILE: HOSTILE,
        "table": [{HOSTILE: HOSTILE, "n": 1}],
        "pairs": [[HOSTILE, 2]],
        "facts": {HOSTILE: HOSTILE},
        "json": [[[HOSTILE]]],
        "text": HOSTILE * 2000,
    }
    arms = [{HOSTILE: HOSTILE}, {HOSTILE: 2}]
    trials = [
        make_trial(
            number, arms[number % 2], number // 2, results=results, dashboard=f"javascript:alert({number})",
            counts={HOSTILE: 1}, traffic=[[HOSTILE, HOSTILE, 3]], recoveries=[HOSTILE, {HOSTILE: HOSTILE}],
            failures=[{"address": HOSTILE, "message_id": HOSTILE, "error": HOSTILE}, HOSTILE],
            topology={"describe": HOSTILE, "edges": [[HOSTILE, f"{HOSTILE}/1"]]}, cost={HOSTILE: 1},
            fingerprint=HOSTILE, agents=HOSTILE, seconds=None,
        )
        for number in range(4)
    ]  # fmt: skip
    metrics = [
        row | {"measure": HOSTILE} for trial in trials for row in make_metrics(trial | {"arm": {}}, 3)[::3]
    ]
    messages = [{"trial": 0, "now": 1.0, "sender": "a", "recipient": "b", "kind": HOSTILE, "bytes": 1}]
    fields = ("experiment", "description", "run", "configuration_hash", "file", "command", "created", "seed")
    manifest: dict[str, Any] = dict.fromkeys(fields, HOSTILE)
    manifest |= {
        "configuration": {HOSTILE: HOSTILE},
        "versions": {HOSTILE: HOSTILE},
        "git": {"commit": HOSTILE},
    }
    return make_run(
        folder, trials, metrics, messages, {"state": HOSTILE, "error": {HOSTILE: HOSTILE}}, **manifest
    )


def test_hostile_text_is_shown_and_does_nothing(tmp_path: Path) -> None:
    page = report(hostile_run(tmp_path / "hostile"))
    assert_inert(page)
    assert "<script>alert(1)</script>" in page.text
    assert "\u202e" not in page.html
    assert "\x07" not in page.html
    assert "\U0001f41d" in page.text
    assert "javascript:" not in page.html
    assert len(page.html) < 300_000


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    run = make_sweep(tmp_path / "sweep")
    first = write_report(run).read_bytes()
    assert write_report(run).read_bytes() == first
    assert sorted(path.name for path in run.iterdir() if path.suffix == ".html") == ["report.html"]
    assert not list(run.glob(".report*"))


def test_ids_are_not_used_twice_and_figures_and_tables_have_names(tmp_path: Path) -> None:
    page = report(make_sweep(tmp_path / "sweep"))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    figures = [
        attributes for name, attributes in page.elements if name == "svg" and attributes.get("role") == "img"
    ]
    assert len(figures) == 4
    assert all(attributes["aria-label"] for attributes in figures)
    assert "Load imbalance by round. drop share = 0: from 4 to 1.059" in page.html
    assert all(attributes.get("scope") for name, attributes in page.elements if name == "th")
    assert dict(page.elements)["html"] == {"lang": "en"}


def test_a_large_run_stays_a_small_file_and_says_what_was_left_out(tmp_path: Path) -> None:
    edges = [[f"worker/{i}", f"worker/{(i * 7 + j) % 5000}"] for i in range(5000) for j in (1, 2)]
    trials = [make_trial(number, {"n": number // 2}, number % 2) for number in range(20)]
    trials[0]["topology"] = {"describe": "scale free", "edges": edges}
    rounds = 700
    shapes = [
        row for trial in trials for row in make_metrics(trial, rounds) if row["measure"] == "load_imbalance"
    ]
    metrics = [row | {"measure": f"measure {index:02d}"} for index in range(26) for row in shapes]
    run = make_run(tmp_path / "large", trials, metrics)
    page = report(run)
    assert (run / "report.html").stat().st_size < 2_000_000
    for text in (
        "5,000 agents", "spring layout.", "Drawn: 300 agents",
        "2 more measures over time: 24 are drawn, the tables hold all.",
        "Lines are drawn for 8 of 10 arms; the tables hold all.", "Averaged in 125 intervals.",
    ):  # fmt: skip
        assert text in page.text


def test_a_run_that_goes_on_says_so(tmp_path: Path) -> None:
    run = make_single(tmp_path / "running")
    (run / "status.json").write_text(json.dumps({"state": "running"}))
    assert "This run has not ended." in report(run).text
