"""Exact match of a saved model on conversations, greedy, through transformers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inference.extra import optional
from inference.tiny.conversation import Conversation
from inference.tiny.report import Score
from inference.tiny.template import as_chat, as_functions

BATCH = 50
ANSWER_TOKENS = 64
"""So many at most: more than any right answer has."""


class Answerer:
    """A model in Hugging Face's format that answers greedily, many prompts at once."""

    def __init__(self, folder: Path) -> None:
        transformers = optional("transformers", "vllm", "testing the tiny model")
        self._tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder, padding_side="left")
        self._model: Any = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()

    def answers(self, conversations: Sequence[Conversation]) -> list[str]:
        """What the model says to each, in order; tool calls stand in the text."""
        texts: list[str] = []
        for start in range(0, len(conversations), BATCH):
            prompts = [
                self._tokenizer.apply_chat_template(
                    as_chat(each.messages),
                    tools=as_functions(each.tools) or None,
                    add_generation_prompt=True,
                    tokenize=False,
                )
                for each in conversations[start : start + BATCH]
            ]
            tokens = self._tokenizer(prompts, return_tensors="pt", padding=True, return_token_type_ids=False)
            made = self._model.generate(**tokens, max_new_tokens=ANSWER_TOKENS, do_sample=False)
            texts += self._tokenizer.batch_decode(
                made[:, tokens["input_ids"].shape[1] :], skip_special_tokens=True
            )
        return texts


def score(answerer: Answerer, conversations: Sequence[Conversation]) -> Score:
    """How many are answered exactly right."""
    texts = answerer.answers(conversations)
    right = sum(each.is_answered_by(text) for each, text in zip(conversations, texts, strict=True))
    return Score.of(right, len(conversations))
