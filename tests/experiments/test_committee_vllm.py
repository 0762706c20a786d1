"""The committee by real vLLM: the tiny model where it is made, else one of random weights, which has nothing to say."""

from pathlib import Path

import pytest

from actors.ray_session import ray_session
from benchmarks.inference_model import make_model
from cluster.results import State
from cluster.runner import Summary
from inference.errors import ConfigurationError
from inference.tiny.place import tiny_model
from tests.actors.ray_here import RAY_OPTIONS
from tests.experiments.test_committee import held
from tests.inference.needs import needs_vllm
from tests.inference.vllm_cast import quiet_vllm

pytestmark = [pytest.mark.ray, pytest.mark.slow, *quiet_vllm()]


def model(folder: Path) -> tuple[Path, bool]:
    """The model's folder, and whether it is the trained one."""
    needs_vllm()
    try:
        return tiny_model(), True
    except ConfigurationError:
        return make_model(folder / "random"), False


def test_a_committee_by_vllm_is_measured_recorded_and_had_again(tmp_path: Path) -> None:
    folder, trained = model(tmp_path)
    small = "model.vllm={cache_bytes: 33554432, running_requests: 32}"
    with ray_session("local", RAY_OPTIONS):
        summary = held(tmp_path, small, "repeats=2", model=f"model=vllm:{folder}")
    assert summary.state == State.DONE, summary.errors
    check_whole(summary, trained)
    engine = summary.folder.manifest["models"][f"vllm:{folder}"]["engine"]
    assert {"revision", "tokenizer", "vllm", "settings", "determinism"} <= engine.keys()
    # The same questions have the same answers, without vLLM.
    again = held(tmp_path / "again", "repeats=2", model=f"model=replay:{summary.folder.path}")
    assert again.state == State.DONE, again.errors
    assert again.fingerprint == summary.fingerprint


def check_whole(summary: Summary, trained: bool) -> None:
    """All was asked and measured; a trained model says what the rules of the game say."""
    for result in summary.results:
        assert not result["failures"]
        cost = result["model_cost"]["member"]
        assert cost["answered"] == cost["asked"] > 0
        assert cost["errors"] == {}
        assert cost["cached_tokens"] is not None
        assert len(result["results"]["decisions"]) == 3
    assert 0 <= summary.measures["valid_json"] <= 1
    if trained:
        assert summary.measures["valid_json"] > 0.9
        assert summary.measures["right"] > 0.8
