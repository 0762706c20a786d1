"""A model of random weights in Hugging Face's format, with tokenizer and chat template: what a real engine can load.

Made offline from a fixed seed in a few seconds. It says nonsense, at real cost: enough for everything but quality, and
where an answer's form is imposed (a JSON schema, a tool call) it is held even by random weights.
"""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

from inference.extra import optional

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>")
CONTEXT = 1_024
_WORDS = "you are a brief judge of motions vote on budgets yes no because it is sunny weather in a city"
# The layout of Qwen's: tools as JSON in the system's message, calls and results between tags.
CHAT_TEMPLATE = """\
{%- if tools %}<|im_start|>system
{% if messages[0].role == 'system' %}{{ messages[0].content }}

{% endif %}# Tools
<tools>{% for tool in tools %}
{{ tool | tojson }}{% endfor %}
</tools>
Call one so: <tool_call>{"name": <function-name>, "arguments": <args-json-object>}</tool_call><|im_end|>
{% elif messages[0].role == 'system' %}<|im_start|>system
{{ messages[0].content }}<|im_end|>
{% endif %}
{%- for message in messages %}
{%- if not (loop.first and message.role == 'system') %}<|im_start|>{{ message.role }}
{{ message.content or '' }}{% for call in message.tool_calls or [] %}
<tool_call>{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}</tool_call>
{%- endfor %}<|im_end|>
{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


def make_model(
    folder: Path, *, width: int = 64, layers: int = 2, context: int = CONTEXT, seed: int = 0
) -> Path:
    """Writes the model; gives the folder back. Raises `ExtraMissing` without torch and transformers."""
    torch, transformers = _module("torch"), _module("transformers")
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = _make_tokenizer(folder)
    config = transformers.Qwen3Config(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=context,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=SPECIAL.index("<|im_end|>"),
        pad_token_id=SPECIAL.index("<|endoftext|>"),
        dtype="bfloat16",
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = transformers.Qwen3ForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(folder)
    return folder


def make_adapter(folder: Path, *, width: int = 64, layers: int = 2, rank: int = 4, seed: int = 1) -> Path:
    """Writes a LoRA adapter of random weights for such a model, large enough to change what it says."""
    torch, safetensors = _module("torch"), _module("safetensors.torch")
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(seed)
    weights: dict[str, Any] = {}
    for layer in range(layers):
        for name, out in (("q_proj", 128), ("v_proj", 64)):
            stem = f"base_model.model.model.layers.{layer}.self_attn.{name}"
            weights[f"{stem}.lora_A.weight"] = torch.randn(rank, width, generator=generator)
            weights[f"{stem}.lora_B.weight"] = torch.randn(out, rank, generator=generator)
    safetensors.save_file(weights, folder / "adapter_model.safetensors")
    described = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": 2 * rank,
        "target_modules": ["q_proj", "v_proj"],
        "bias": "none",
    }
    (folder / "adapter_config.json").write_text(json.dumps(described))
    return folder


def _make_tokenizer(folder: Path) -> int:
    """A byte-level BPE with a few whole words. Returns the size of its vocabulary."""
    tokenizers, transformers = _module("tokenizers"), _module("transformers")
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=list(SPECIAL),
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([_WORDS] * 4, trainer)
    wrapped = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",  # noqa: S106  # a token of text, no secret
        pad_token="<|endoftext|>",  # noqa: S106  # as above
    )
    wrapped.chat_template = CHAT_TEMPLATE
    wrapped.save_pretrained(folder)
    return len(wrapped)


def _module(name: str) -> ModuleType:
    return optional(name, "vllm", "a model of random weights (on a CPU: make vllm)")
