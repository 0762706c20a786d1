"""One line names a model; a wrong one is told with what to write instead, and never repeats a key."""

import asyncio
from pathlib import Path

import pytest

from inference.errors import ConfigurationError, RecordingBroken
from inference.llm import BaseLLM
from inference.provider import OPENAI_URL, ModelSpec, open_model, parse_model
from inference.recorded import RecordedLLM
from inference.request import Request
from inference.scripted import Rule, ScriptedLLM
from tests.inference.needs import needs

LINES = {
    "vllm:Qwen/Qwen3-8B": ModelSpec("vllm", "Qwen/Qwen3-8B"),
    "vllm:/models/tiny": ModelSpec("vllm", "/models/tiny"),
    "openai:http://host:8000/v1#Qwen/Qwen3-8B": ModelSpec("openai", "Qwen/Qwen3-8B", "http://host:8000/v1"),
    "openai:https://host/v1/#name": ModelSpec("openai", "name", "https://host/v1"),
    "openai:gpt-5-mini": ModelSpec("openai", "gpt-5-mini", OPENAI_URL),
    "ollama:qwen3:0.6b": ModelSpec("ollama", "qwen3:0.6b"),
    "ollama:http://host:11434#qwen3:0.6b": ModelSpec("ollama", "qwen3:0.6b", "http://host:11434"),
    "scripted:scripts/voters.yaml": ModelSpec("scripted", "", "scripts/voters.yaml"),
    "replay:results/run": ModelSpec("replay", "", "results/run"),
    "replay:x.jsonl#openai:http://h/v1#n@r": ModelSpec("replay", "openai:http://h/v1#n@r", "x.jsonl"),
}


@pytest.mark.parametrize("line", LINES)
def test_a_line_names_a_model_and_comes_back(line: str) -> None:
    assert parse_model(line) == LINES[line]
    assert parse_model(str(LINES[line])) == LINES[line]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("", "of no known provider: give vllm:"),
        ("gpt-5", "openai:http://host:8000/v1#name"),
        ("vllm", "names no model: give vllm:Qwen"),
        ("scripted:", "give scripted:rules.yaml"),
        (" ollama:x", "give one line"),
        ("ollama:x\n", "give one line"),
        (None, "give one line"),
        ("vllm:http://host/v1#x", "openai:URL#NAME"),
        ("openai:host:8000/v1#x", "begins with http:// or https://"),
        ("openai:http://host/v1", "add #NAME, as in openai:http://host/v1#name"),
        ("openai:http://host/v1#", "add #NAME"),
        ("openai:ftp://host/v1#x", "http://host:port/v1"),
        ("openai:http:///v1#x", "http://host:port/v1"),
        ("openai:http://host:99999/v1#x", "address is wrong"),
        ("ollama:http://host", "add #NAME"),
    ],
)
def test_a_wrong_line_is_told_with_the_mend(line: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_model(line)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    "line",
    [
        "openai:http://user:sk-secret@host/v1#x",
        "openai:https://sk-secret@host/v1#x",
        "openai:http://host/v1?key=sk-secret#x",
        "opnai:http://user:sk-secret@host/v1#x",
        "vllm:http://user:sk-secret@host/v1#x",
    ],
)
def test_a_key_in_a_line_is_refused_and_not_repeated(line: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_model(line)
    assert "sk-secret" not in str(caught.value)


async def said(model: BaseLLM) -> str:
    async with model:
        return (await model.complete(Request.of("hello"))).text


def test_changing_the_line_changes_the_model(tmp_path: Path) -> None:
    script = tmp_path / "rules.yaml"
    script.write_text('rules: [{pattern: "", answers: "from the script"}]')
    assert asyncio.run(said(open_model(f"scripted:{script}"))) == "from the script"
    run = tmp_path / "run"
    for name in ("one", "two"):
        model = ScriptedLLM([Rule("", f"from {name}")], name=name)
        assert asyncio.run(said(RecordedLLM.fill(run / "completions.jsonl", model))) == f"from {name}"
        if name == "one":
            assert asyncio.run(said(open_model(f"replay:{run}"))) == "from one"
    identity = ScriptedLLM([Rule("", "from two")], name="two").identity
    assert asyncio.run(said(open_model(f"replay:{run}#{identity}"))) == "from two"


@pytest.mark.parametrize("line", ["replay:none", "scripted:none.yaml"])
def test_a_file_that_is_not_there_is_told(line: str) -> None:
    with pytest.raises((ConfigurationError, RecordingBroken), match="cannot"):
        open_model(line)


def test_endpoints_are_opened_with_their_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    needs("openai", "httpx2")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    for line in ("openai:http://host:8000/v1#tiny", "ollama:http://host:11434#tiny"):
        model = open_model(line)
        assert model.identity == line
        asyncio.run(model.aclose())
    with pytest.raises(ConfigurationError, match="set the environment variable OPENAI_API_KEY"):
        open_model("openai:gpt-5-mini")
