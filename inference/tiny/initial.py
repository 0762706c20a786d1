"""Initial weights: what random ones would need most of the training to find.

Answers are mostly copied from the prompt: the number after `cost`, the name before `needs`. For that a transformer
learns induction heads (Olsson et al. 2022, "In-context Learning and Induction Heads"): a head that looks back one token
and notes it, and a later head that looks for places whose note is the token at hand. From random weights this took more
steps than five minutes have; here both heads are there from the start, and are trained on as all others. That weights
with the structure of trained ones train sooner is known from vision (Trockman and Kolter 2023, "Mimetic Initialization
of Self-Attention Layers").

Rules:
* Heads of the first layer look back one token and two, by position alone: one coordinate is the same in all embeddings,
  and queries and keys are made of it only, turned by as much as rotary embeddings (Su et al. 2021) turn in so many
  tokens. They note what they see in coordinates of their own.
* The same heads of each later layer compare these notes with the token at hand, by frequencies that hardly turn in a
  prompt's length, and copy the token that they find towards the prediction.
* Nothing else speaks at first: all other heads and the inner layers begin with outputs of zero.
* Numbers up to 99 begin on circles (sines and cosines of several periods), `37` and ` 37` at the same place: near
  numbers are near, and sums are turns (Zhou et al. 2025, "FoNE"; Kantamneni and Tegmark 2025).
"""

import math
from typing import Any

from inference.extra import optional

LOOKS_BACK = (1, 2)
PERIODS = (2, 5, 10, 20, 40, 100, 200)
_SAME = 0.08
"""The coordinate that all embeddings share: four standard deviations of another one."""
_SHARP, _MATCHES = 3.0, 1.5
"""How much more the coordinates count by which a head looks back, or matches."""
_LOOK, _COPY, _NOTE, _TELL = 0.3, 0.5, 0.15, 0.15
"""Scales of queries and keys, of values, and of outputs: a note is about as long as an embedding."""
_TURNS = 3
"""Frequencies by which a head looks back: enough to tell one token from the next, and from those a turn away."""
_SLOW = 0.012
"""Radians a token at most for a frequency to match by: hardly a turn in 256 tokens."""
_CIRCLES = 0.06
"""The radius: with all periods, two thirds of an embedding's length."""


def set_up(model: Any, tokenizer: Any) -> None:
    """Changes the weights of a new `Qwen3ForCausalLM` in place; random ones from torch's own generator."""
    torch = optional("torch", "vllm", "training")
    with torch.no_grad():
        embeddings = model.model.embed_tokens.weight
        embeddings[:, 0] = _SAME
        _put_numbers_on_circles(torch, embeddings, tokenizer)
        _look_back_and_match(torch, model)


def _put_numbers_on_circles(torch: Any, embeddings: Any, tokenizer: Any) -> None:
    waves = [2 * math.pi / period for period in PERIODS]
    basis = _orthonormal(torch, 2 * len(PERIODS), embeddings.shape[1])
    for number in range(100):
        at = torch.tensor([turn(number * wave) for wave in waves for turn in (math.cos, math.sin)])
        for text in dict.fromkeys((str(number), f" {number}", f"{number:02}")):
            tokens = tokenizer.encode(text).ids
            if len(tokens) == 1:
                embeddings[tokens[0]] += _CIRCLES * at[: len(basis)] @ basis


def _look_back_and_match(torch: Any, model: Any) -> None:
    config = model.config
    width, size = config.hidden_size, config.head_dim
    half = size // 2
    turns = [config.rope_parameters["rope_theta"] ** (-2 * each / size) for each in range(half)]
    slow = [each for each in range(half) if turns[each] < _SLOW]
    slow += [each + half for each in slow]
    fast = list(range(_TURNS))
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()
    first, *later = (layer.self_attn for layer in model.model.layers)
    first.q_norm.weight[[*fast, *(each + half for each in fast)]] = _SHARP
    for attention in later:
        attention.q_norm.weight[slow] = _MATCHES
    basis = _orthonormal(torch, width, width)
    apart, own = basis[: len(LOOKS_BACK) * size], basis[len(LOOKS_BACK) * size :]
    seen = _padded(torch, own[:size], size)
    for head, back in enumerate(LOOKS_BACK):
        query, key = torch.zeros(size, width), torch.zeros(size, width)
        for each in fast:
            query[each, 0] = _LOOK
            key[each, 0] = _LOOK * math.cos(back * turns[each])
            key[each + half, 0] = _LOOK * math.sin(back * turns[each])
        noted = _padded(torch, apart[head * size :], size)
        _set(first, head, query, key, _COPY * seen, _NOTE * noted)
        for attention in later:
            query, key = torch.zeros(size, width), torch.zeros(size, width)
            query[slow], key[slow] = _LOOK * seen[: len(slow)], _LOOK * noted[: len(slow)]
            told = _padded(torch, _orthonormal(torch, size, len(own) + 1)[:, 1:] @ own, size)
            _set(attention, head, query, key, _COPY * told, _TELL * told)


def _set(attention: Any, head: int, *weights: Any) -> None:
    """Those of one head, for query, key, value and output; there are as many heads of keys and values as of queries."""
    rows = slice(head * len(weights[0]), (head + 1) * len(weights[0]))
    query, key, value, out = weights
    attention.q_proj.weight[rows], attention.k_proj.weight[rows] = query, key
    attention.v_proj.weight[rows], attention.o_proj.weight[:, rows] = value, out.T


def _orthonormal(torch: Any, count: int, width: int) -> Any:
    """At most so many random rows at right angles to each other and to the coordinate that all share."""
    rows = torch.linalg.qr(torch.randn(width - 1, min(count, width - 1))).Q.T
    return torch.nn.functional.pad(rows, (1, 0))


def _padded(torch: Any, rows: Any, count: int) -> Any:
    """The first so many rows, with rows of zeros where there are fewer."""
    found = rows[:count]
    return torch.nn.functional.pad(found, (0, 0, 0, count - len(found)))
