"""Makes `words.npz`, the table of `word_table.py`, from a sentence model. Run once, by hand; not needed to use it.

    python -m inference.distil_words FOLDER_OF_ALL_MINILM_L6_V2

Each whole word of the model's vocabulary is embedded alone, the mean is taken off, the principal axes are kept, and
each number is rounded to four bits (Model2Vec, Tulkens and van Dongen, 2024, does the same without the rounding).
The model is sentence-transformers/all-MiniLM-L6-v2 (Apache 2.0). The order of its vocabulary, about that of
frequency, is kept.
"""

import sys
from pathlib import Path

import numpy as np

from inference.sentence_embedder import SentenceTransformerEmbedder
from inference.word_table import DIMENSION, LEVEL_MAX, TABLE_FILE

_FIRST_WORD = 1_000
"""Before it the vocabulary of BERT holds what is no word."""
_CLIP = 2.6
"""Numbers beyond this many times the mean of their axis are cut: the least squared error of rounding to 15 levels."""


def main(folder: Path) -> None:
    """Writes the table beside this module."""
    lines = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()[_FIRST_WORD:]
    words = [word for word in lines if word.isascii() and word.isalpha() and len(word) >= 2]
    vectors = SentenceTransformerEmbedder(folder, batch_texts=256).embed(words).astype(np.float64)
    vectors -= vectors.mean(axis=0)
    _, _, axes = np.linalg.svd(vectors, full_matrices=False)
    kept = vectors @ axes[:DIMENSION].T
    scale = np.abs(kept).mean(axis=0) * _CLIP / LEVEL_MAX
    levels = (np.clip(np.round(kept / scale), -LEVEL_MAX, LEVEL_MAX) + 8).astype(np.uint8)
    packed = levels[:, 0::2] << 4 | levels[:, 1::2]
    text = np.frombuffer("\n".join(words).encode(), dtype=np.uint8)
    np.savez_compressed(TABLE_FILE, words=text, levels=packed, scale=scale.astype(np.float32))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
