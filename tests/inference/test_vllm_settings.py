"""What can be said of a model and its settings without vLLM: files, names, faults with their mend."""

import json
from pathlib import Path
from typing import Any

import pytest

from inference.errors import BadRequest, ConfigurationError, ContextTooLong, LLMError, QueueFull
from inference.failure import Failure
from inference.message import ChatMessage, ToolCall
from inference.request import Request, ResponseSchema, Sampling, Tool
from inference.vllm_engine import VLLMEngine
from inference.vllm_model import find_adapter, find_model
from inference.vllm_prompt import PromptRenderer, template_message
from inference.vllm_sampling import bounded_strings, check_form, room_for
from inference.vllm_settings import VLLMSettings, resources
from inference.vllm_tools import told_from
from inference.vllm_wire import decoded_batch, decoded_request, encoded_request
from tests.inference.needs import needs


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"running_requests": 0}, "running_requests is 0: give more than 0"),
        ({"cache_bytes": 0}, "None or more than 0"),
        ({"gpu_memory": 1.5}, "a share of more than 0 and at most 1"),
        ({"restarts": -1}, "0 or more"),
        ({"structured_backend": "outlines"}, "one of the two"),
        ({"gpus": -1}, "gpus is -1"),
        ({"gpus": 2}, "give tensor_parallel=2"),
        ({"gpus": 0.5, "tensor_parallel": 2}, "each part has one GPU"),
    ],
)
def test_a_wrong_setting_is_told_with_the_mend(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        VLLMSettings(**settings)


def test_settings_are_plain_values_and_come_back() -> None:
    settings = VLLMSettings(
        tensor_parallel=2, adapters={"judge": "folder"}, engine_arguments={"swap_space": 1}
    )
    assert VLLMSettings(**json.loads(json.dumps(settings.plain()))) == settings


@pytest.mark.parametrize(
    ("settings", "cluster", "taken"),
    [
        ({}, {"CPU": 2.0}, {"CPU": 1.0}),
        ({}, {"CPU": 2.0, "GPU": 1.0}, {"CPU": 1.0, "GPU": 1.0}),
        ({"tensor_parallel": 4}, {"CPU": 8.0, "GPU": 8.0}, {"CPU": 1.0, "GPU": 4.0}),
        ({"gpus": 0.25}, {"CPU": 2.0, "GPU": 1.0}, {"CPU": 1.0, "GPU": 0.25}),
        ({"gpus": 0, "cpus": 2}, {"CPU": 2.0, "GPU": 1.0}, {"CPU": 2.0}),
    ],
)
def test_a_replica_takes_a_gpu_for_each_part_where_there_are_any(
    settings: dict[str, Any], cluster: dict[str, float], taken: dict[str, float]
) -> None:
    assert resources(VLLMSettings(**settings), cluster) == taken


def test_a_gpu_that_is_not_there_is_told() -> None:
    with pytest.raises(ConfigurationError, match=r"takes 2 GPU\(s\), and Ray knows of 1"):
        resources(VLLMSettings(tensor_parallel=2), {"CPU": 2.0, "GPU": 1.0})
    with pytest.raises(ConfigurationError, match=r"takes 1 GPU\(s\), and Ray knows of 0"):
        resources(VLLMSettings(gpus=1), {"CPU": 2.0})


def model_in(folder: Path, weights: bytes = b"weights", template: str = "{{ messages }}") -> Path:
    folder.mkdir()
    (folder / "config.json").write_text('{"architectures": ["Qwen3ForCausalLM"]}')
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "chat_template.jinja").write_text(template)
    return folder


def found(folder: Path) -> Any:
    return find_model(str(folder), revision=None, offline=True)


def test_the_same_files_have_the_same_revision_wherever_they_lie(tmp_path: Path) -> None:
    first, second = found(model_in(tmp_path / "a")), found(model_in(tmp_path / "b"))
    assert (first.name, second.name) == ("a", "b")
    assert first.revision == second.revision
    assert first.tokenizer == second.tokenizer
    other = found(model_in(tmp_path / "c", weights=b"Weights"))
    assert other.revision != first.revision
    assert other.tokenizer == first.tokenizer
    template = found(model_in(tmp_path / "d", template="{{ messages[0] }}"))
    assert template.revision != first.revision
    assert template.tokenizer != first.tokenizer
    own = VLLMEngine(str(tmp_path / "a"), VLLMSettings(chat_template="x", quantization="fp8")).identity
    assert own.startswith(f"vllm:a@{first.revision}/fp8/template-")


def test_a_large_file_is_hashed_by_samples_and_says_so(tmp_path: Path) -> None:
    size = (64 << 20) + 1
    first = model_in(tmp_path / "a")
    with (first / "model.safetensors").open("wb") as file:
        file.truncate(size)
    whole = found(first)
    assert whole.sampled
    with (first / "model.safetensors").open("r+b") as file:
        file.seek(size - 1)
        file.write(b"x")
    assert found(first).revision != whole.revision


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("/no/such/folder", "there is no folder"),
        ("one", "there is no folder one"),
        ("no/model", r"cannot be had.*download it once"),
    ],
)
def test_a_model_that_is_not_there_is_told_before_anything_starts(model: str, told: str) -> None:
    needs("huggingface_hub")
    with pytest.raises(ConfigurationError, match=told):
        VLLMEngine(model)


def test_a_folder_that_holds_no_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no config\.json"):
        found(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        found(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigurationError, match="holds no weights"):
        found(tmp_path)


def test_an_adapter_that_would_kill_the_engine_is_told_before_it_starts(tmp_path: Path) -> None:
    folder = model_in(tmp_path / "model")
    with pytest.raises(ConfigurationError, match="the adapter judge is not in"):
        VLLMEngine(str(folder), VLLMSettings(adapters={"judge": str(tmp_path / "none")}))
    adapter = tmp_path / "judge"
    adapter.mkdir()
    (adapter / "adapter_model.safetensors").write_bytes(b"")
    (adapter / "adapter_config.json").write_text('{"r": 64}')
    with pytest.raises(ConfigurationError, match="has rank 64: set adapter_rank"):
        find_adapter("judge", str(adapter), 16)
    assert len(find_adapter("judge", str(adapter), 64)) == 16


def test_a_prompt_over_the_context_has_its_counts_and_a_long_answer_is_cut() -> None:
    request = Request.of("x", sampling=Sampling(max_tokens=500))
    assert room_for(request, 100, 2048) == 500
    assert room_for(request, 2000, 2048) == 48
    for tokens in (2048, 5000):
        with pytest.raises(ContextTooLong) as caught:
            room_for(request, tokens, 2048)
        assert (caught.value.prompt_tokens, caught.value.limit_tokens) == (tokens, 2048)


def test_only_strings_of_bounded_length_are_given_a_pattern_and_values_are_left_alone() -> None:
    plain = {"type": "string"}
    own = {"type": "string", "maxLength": 3, "pattern": "a*"}
    values = {"enum": [{"type": "string", "maxLength": 3}], "const": {"type": "string", "maxLength": 3}}
    for schema in (plain, own, values, {"type": "string", "maxLength": 5_000}):
        assert bounded_strings(schema) == schema
    bounded = bounded_strings({"anyOf": [{"type": "string", "minLength": 1, "maxLength": 3}]})["anyOf"][0]
    assert bounded["pattern"].endswith("{1,3}$")
    assert "maxLength" not in bounded


def test_an_answer_has_one_form() -> None:
    tool = Tool("vote")
    choice = ResponseSchema.choice("a", "b")
    check_form(Request.of("x", tools=[tool], tool_choice="none", response_schema=choice))
    with pytest.raises(BadRequest, match="an answer has one form"):
        check_form(Request.of("x", tools=[tool], response_schema=choice))


@pytest.mark.parametrize(
    ("template", "parser"),
    [
        ("{{ '<tool_call>' }}", "hermes"),
        ("<tool_call><function=", "qwen3_coder"),
        ("<tool_call>{{ x }}<arg_key>", "glm45"),
        ("[TOOL_CALLS]", "mistral"),
        ("<|python_tag|>", "llama3_json"),
        ("{{ messages }}", None),
    ],
)
def test_the_family_is_told_from_the_chat_template(template: str, parser: str | None) -> None:
    assert told_from(template) == parser


def test_a_call_is_an_object_for_the_template_and_broken_json_is_shown_as_it_is() -> None:
    calls = [ToolCall("c1", "vote", '{"yes": true}'), ToolCall("c2", "vote", "{yes")]
    plain = template_message(ChatMessage.assistant("", calls))
    assert [call["function"]["arguments"] for call in plain["tool_calls"]] == [{"yes": True}, "{yes"]
    assert template_message(ChatMessage.tool("c1", "done"))["tool_call_id"] == "c1"


class Lengths:
    """A tokenizer whose ids are the lengths of the messages."""

    def __init__(self) -> None:
        self.rendered = 0

    def apply_chat_template(self, talk: list[dict[str, Any]], **_options: Any) -> list[int]:
        self.rendered += 1
        if talk[-1]["content"] == "broken":
            raise ValueError("roles must alternate")
        return [len(message["content"]) for message in talk]


def test_a_prompt_is_rendered_once_while_it_is_kept() -> None:
    tokenizer = Lengths()
    renderer = PromptRenderer(tokenizer, None, kept_tokens=2)
    for text in ("a", "bb", "a", "bb"):
        assert renderer.render(Request.of(text)) == [len(text)]
    assert tokenizer.rendered == 2
    renderer.render(Request.of("ccc"))
    renderer.render(Request.of("bb"))  # kept: it was asked for last
    assert tokenizer.rendered == 3
    renderer.render(Request.of("a"))
    assert tokenizer.rendered == 4
    with pytest.raises(BadRequest, match="roles must alternate"):
        renderer.render(Request.of("broken"))


@pytest.mark.parametrize(
    "error",
    [
        QueueFull("full"),
        ContextTooLong("long", prompt_tokens=9, limit_tokens=8),
        BadRequest("bad", definite=False),
    ],
)
def test_an_error_crosses_as_what_it_is(error: LLMError) -> None:
    came = Failure.of(error).error()
    assert type(came) is type(error)
    assert (str(came), came.definite) == (str(error), error.definite)
    assert vars(came) == vars(error) | {"definite": error.definite}


def test_what_arrives_broken_is_told() -> None:
    request = Request.of("x", sampling=Sampling(seed=(1 << 63) - 1))
    assert decoded_request(encoded_request(request)) == request
    for broken in (b"", b"\xff", b"\x93"):
        with pytest.raises(BadRequest, match="arrived broken"):
            decoded_request(broken)
        with pytest.raises(BadRequest, match="arrived broken"):
            decoded_batch(broken)
    with pytest.raises(BadRequest, match="cannot be sent"):
        encoded_request(Request.of("x", tools=[Tool("t", parameters={"type": "object", "const": 1 << 70})]))
