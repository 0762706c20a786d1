"""A transformer of random weights in Hugging Face format, made in seconds: for what does not depend on what is said.

Its tokens are bytes, a few hundred merges and ChatML's markers; `<tool_call>` is no special token, so that it stays in
the text that a parser of tool calls reads. What it says is noise, the same for the same seed: whatever sense there is
in its answers, a schema put there.
"""

from importlib import import_module
from pathlib import Path

CONTEXT_TOKENS = 2048
_MARKERS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_TOOL_MARKERS = ("<tool_call>", "</tool_call>")
_PROSE = [
    "You are a judge of a committee. Vote yes or no on the motion and give a reason as JSON.",
    '{"vote": "yes", "reason": "the budget is sound"} {"city": "Paris", "number": 0123456789}',
    "Say something short about the weather, the road, the trees and the winter in the city.",
]
_TEMPLATE = (
    "{% if tools %}<|im_start|>system\n{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content or '' }}"
    "{% for call in message.tool_calls or [] %}<tool_call>\n"
    '{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}'
    "\n</tool_call>{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make_random_model(folder: Path, *, seed: int = 0) -> Path:
    """Writes the model: 2 layers of width 64, weights of bfloat16. Needs transformers, tokenizers and torch."""
    torch, transformers, tokenizers = map(import_module, ("torch", "transformers", "tokenizers"))
    raw = tokenizers.Tokenizer(tokenizers.models.BPE())
    raw.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = tokenizers.decoders.ByteLevel()
    raw.train_from_iterator(
        _PROSE,
        tokenizers.trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=list(_MARKERS),
            initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=raw, **{"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    )
    tokenizer.add_tokens(list(_TOOL_MARKERS))
    tokenizer.chat_template = _TEMPLATE
    tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    model = transformers.Qwen3ForCausalLM(
        transformers.Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=32,
            max_position_embeddings=CONTEXT_TOKENS,
            tie_word_embeddings=True,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    model.to(torch.bfloat16).save_pretrained(folder)
    return folder
