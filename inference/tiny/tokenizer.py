"""The tokenizer: byte-level BPE (Sennrich et al. 2016) over the training conversations, made for copying.

Any text can be written, as bytes are the last resort. The splits before merging keep what has to be copied the same
wherever it stands: digits go in pairs from the right, so that a number up to 99 is one token, a longer one is read in
hundreds, and what is carried goes from pair to pair; a word with a capital never takes the space before it along.
Lower-case words do, and the punctuation of JSON takes its spaces along (`": "` is one token), which halves the count.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from inference.extra import optional
from inference.tiny.template import CHAT_TEMPLATE, CLOSES, MARKS, OPENS, PAD

VOCABULARY = 1280
_WORDS = r" ?\p{Ll}+|\p{Lu}\p{Ll}+|\p{Lu}+"
_NUMBERS = r" ?\p{N}{1,2}(?=(?:\p{N}{2})*(?!\p{N}))"
_MARKS = r"[^\s\p{L}\p{N}]+"
_SPLITS = rf"{_WORDS}|{_NUMBERS}| ?{_MARKS}(?: {_MARKS})*(?: (?=\p{{Lu}}))?|\s"


def trained_tokenizer(texts: Iterable[str], vocabulary: int = VOCABULARY) -> Any:
    """A `tokenizers.Tokenizer` of at most so many tokens; the same texts give the same one."""
    library = optional("tokenizers", "vllm", "training a tokenizer")
    tokenizer = library.Tokenizer(library.models.BPE())
    tokenizer.pre_tokenizer = library.pre_tokenizers.Sequence(
        [
            library.pre_tokenizers.Split(library.Regex(_SPLITS), behavior="isolated"),
            library.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = library.decoders.ByteLevel()
    trainer = library.trainers.BpeTrainer(
        vocab_size=vocabulary - len(MARKS),
        special_tokens=[PAD, OPENS, CLOSES],
        initial_alphabet=sorted(library.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([library.AddedToken(mark, special=False, normalized=False) for mark in MARKS])
    return tokenizer


def save_tokenizer(tokenizer: Any, folder: Path, context_tokens: int) -> None:
    """Writes tokenizer.json and tokenizer_config.json, the chat template in it, for transformers and vLLM."""
    transformers = optional("transformers", "vllm", "saving a tokenizer")
    wrapped = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=CLOSES,
        model_max_length=context_tokens,
        clean_up_tokenization_spaces=False,
    )
    wrapped.chat_template = CHAT_TEMPLATE
    wrapped.save_pretrained(folder, save_jinja_files=False)
