"""A very short training makes a model that transformers loads and that answers; packing changes nothing but speed."""

import importlib.util
import json
import os
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from inference.tiny.families import FAMILIES, held_out, training
from inference.tiny.packing import Example, batches
from inference.tiny.place import REPORT
from inference.tiny.report import NOTE
from inference.tiny.template import CLOSES, rendered

NEEDED = ("tokenizers", "torch", "transformers")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
needs_torch = pytest.mark.skipif(
    bool(MISSING) and os.environ.get("CI") != "true", reason=f"needs {', '.join(MISSING)}: run `make vllm`"
)
quiet = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def small() -> Any:
    from inference.tiny.train import Settings  # noqa: PLC0415  # only where torch is

    return Settings(
        steps=3,
        rows=2,
        width=32,
        layers=2,
        heads=2,
        key_value_heads=2,
        inner_width=48,
        tokenizer_conversations=200,
        test_prompts=2,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from inference.tiny.train import make  # noqa: PLC0415  # only where torch is

    folder = tmp_path_factory.mktemp("models") / "tiny"
    make(folder, small(), lambda _: None)
    return folder


@needs_torch
@quiet
def test_a_short_training_saves_what_transformers_loads_and_lets_answer(made: Path) -> None:
    from inference.tiny.measure import Answerer  # noqa: PLC0415  # only where torch is

    report = json.loads((made / REPORT).read_text())
    assert report["note"] == NOTE
    assert set(report["families"]) == {family.name for family in FAMILIES}
    assert report["losses"][-1][0] == report["steps"] == 3
    assert {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json"} <= {
        path.name for path in made.iterdir()
    }
    asked = [held_out(family, 5, 1)[0] for family in FAMILIES]
    answers = Answerer(made).answers(asked)
    assert len(answers) == len(asked)
    assert answers == Answerer(made).answers(asked)


@needs_torch
@quiet
def test_the_saved_tokenizer_holds_the_template_and_reads_prompts_as_training_did(made: Path) -> None:
    import tokenizers  # noqa: PLC0415  # only where it is
    import transformers  # noqa: PLC0415

    from inference.tiny.template import as_chat, as_functions  # noqa: PLC0415

    loaded = transformers.AutoTokenizer.from_pretrained(made)
    bare = tokenizers.Tokenizer.from_file(str(made / "tokenizer.json"))
    for each in islice(training(9), 60):
        ids = loaded.apply_chat_template(
            as_chat(each.messages),
            tools=as_functions(each.tools) or None,
            add_generation_prompt=True,
            return_dict=False,
        )
        prompt, answer = rendered(each.messages, each.tools), each.expected + CLOSES
        assert ids == bare.encode(prompt).ids
        assert ids + bare.encode(answer).ids == bare.encode(prompt + answer).ids
        assert loaded.decode(bare.encode(answer).ids, skip_special_tokens=True) == each.expected
    assert loaded.eos_token == CLOSES
    assert loaded.decode(bare.encode("Grüße, 世界 🙂 \t1234").ids) == "Grüße, 世界 🙂 \t1234"
    # Digits go in pairs from the right, so that what is carried goes from token to token.
    for text, pairs in (("1234", ("12", "34")), ("298", ("2", "98")), ("12345", ("1", "23", "45"))):
        assert bare.encode(text).ids == [token for pair in pairs for token in bare.encode(pair).ids]


@needs_torch
@quiet
def test_a_packed_batch_has_the_loss_of_each_conversation_alone() -> None:
    import torch  # noqa: PLC0415  # only where it is

    from inference.tiny import train  # noqa: PLC0415

    torch.manual_seed(0)
    texts = [rendered(each.messages, each.tools) + each.expected for each in islice(training(0), 100)]
    model = train._model(small(), train.trained_tokenizer(texts, 400))
    examples: list[Example] = [([5, 6, 7, 8], [9, 10, 11]), ([12, 13], [14]), ([15], [16, 17, 18, 19])]
    packed = train._loss(model, next(batches(iter(examples), 1, 16))).item()
    alone = [train._loss(model, next(batches(iter([each]), 1, 16))).item() for each in examples]
    weights = [len(answer) for _, answer in examples]
    assert packed == pytest.approx(np.average(alone, weights=weights), abs=1e-5)


@needs_torch
@quiet
def test_a_training_that_fails_leaves_no_folder(tmp_path: Path) -> None:
    from inference.tiny.train import make  # noqa: PLC0415  # only where torch is

    with pytest.raises(ValueError, match="a row holds 16"):
        make(tmp_path / "tiny", replace(small(), length=16), lambda _: None)
    assert list(tmp_path.iterdir()) == []


def test_another_model_is_never_put_in_the_place_of_the_one_that_all_use() -> None:
    from inference.tiny.train import app  # noqa: PLC0415  # as the others here

    for option in (["--steps", "1"], ["--seed", "1"], ["--workers", "1"]):
        told = CliRunner().invoke(app, option)
        assert told.exit_code == 2
        assert "add --folder" in told.output
