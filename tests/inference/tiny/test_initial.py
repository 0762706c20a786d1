"""Before any training the model looks back, finds what followed a word before, and tells near numbers from far ones."""

import random
from statistics import mean
from typing import Any

import pytest

from tests.inference.needs import needs

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
WORDS = ["cost", "days", "risk", "benefit", "support", "budget", "deadline", "limit", "target", "quorum"]


@pytest.fixture(scope="module")
def made() -> tuple[Any, Any]:
    """The model before its training, and its tokenizer."""
    torch: Any = needs("torch", "tokenizers", "transformers")
    from inference.tiny.initial import set_up  # noqa: PLC0415
    from inference.tiny.tokenizer import trained_tokenizer  # noqa: PLC0415
    from inference.tiny.train import Settings, _model  # noqa: PLC0415

    torch.manual_seed(0)
    texts = [" ".join(f"{word} {number}" for word in WORDS) for number in range(100)]
    texts += [f" facts:{number:02}" for number in range(100)]
    tokenizer = trained_tokenizer(texts * 3, 1_000)
    model = _model(Settings(), tokenizer)
    set_up(model, tokenizer)
    model.set_attn_implementation("eager")
    return model.eval(), tokenizer


def attention(made: tuple[Any, Any], text: str) -> tuple[Any, list[int]]:
    """What every head of every layer looks at: (layers, heads, from, to); and the tokens."""
    import torch  # noqa: PLC0415  # only where it is

    model, tokenizer = made
    tokens = tokenizer.encode(text).ids
    with torch.no_grad():
        seen = model(torch.tensor([tokens]), output_attentions=True).attentions
    return torch.stack([layer[0] for layer in seen]), tokens


@pytest.mark.parametrize("head", [0, 1])
def test_heads_of_the_first_layer_look_back_one_token_and_two(made: tuple[Any, Any], head: int) -> None:
    seen, tokens = attention(made, " cost 37; days 12; risk 4" * 20)
    back = seen[0, head].diagonal(-head - 1)
    assert len(tokens) > 100
    assert back[3:].min() > 0.5


def test_a_word_finds_what_followed_it_before_wherever_that_stood(made: tuple[Any, Any]) -> None:
    rng = random.Random(5)
    for _ in range(20):
        words = rng.sample(WORDS, 6)
        facts = "".join(f" {word} {rng.randint(1, 99)}" for word in words)
        asked = rng.choice(words)
        seen, tokens = attention(made, f" facts:{facts} {asked}")
        followed = tokens.index(tokens[-1]) + 1
        assert seen[1, 0, -1, followed] > 0.8, (facts, asked)


def test_a_number_is_most_like_itself_without_a_space_and_then_like_its_neighbours(
    made: tuple[Any, Any],
) -> None:
    import torch  # noqa: PLC0415  # only where it is

    model, tokenizer = made

    def at(text: str) -> Any:
        (token,) = tokenizer.encode(text).ids
        return model.model.embed_tokens.weight[token, 1:].detach()

    def alike(one: str, other: str) -> float:
        return float(torch.cosine_similarity(at(one), at(other), dim=0))

    numbers = range(1, 98)
    same = [alike(f" {number}", f"{number:02}") for number in numbers]
    near = [alike(f" {number}", f" {number + 1}") for number in numbers]
    far = [alike(f" {number}", f" {(number + 47) % 99}") for number in numbers]
    assert mean(same) > mean(near) + 0.05 > mean(far) + 0.1
