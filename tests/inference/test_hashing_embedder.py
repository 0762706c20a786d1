"""The built-in embedder against its definition, written out plainly."""

import dataclasses
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference import hashing_embedder
from inference.hashing_embedder import HashingEmbedder, HashingSettings

PLAIN = HashingSettings(word=1.0, word_pair=0.5, runs=0.8, stop_word=1.0)
MASK = (1 << 64) - 1


def hash_of(run: bytes) -> int:
    return sum(byte * pow(0x9E3779B97F4A7C15, place, 1 << 64) for place, byte in enumerate(run)) & MASK


def mixed(value: int) -> int:
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    return value ^ (value >> 27)


def plainly(text: str, settings: HashingSettings) -> np.ndarray:
    """The vector by loops over words and runs."""
    sums = np.zeros(settings.dimension)

    def add(value: int, weight: float) -> None:
        value = mixed(value & MASK)
        sums[(value >> 33) % settings.dimension] += weight * (-1 if (value >> 32) & 1 else 1)

    words = re.findall(rb"[a-z0-9\x80-\xff]+", text.lower().encode(errors="replace"))
    weights = [min(0.4 + 0.1 * len(word), 1.0) for word in words]
    for word, weight in zip(words, weights, strict=True):
        add(hash_of(word), weight * settings.word)
        padded = b" " + word + b" "
        each = weight * settings.runs / np.sqrt(max(3 * len(word) - 3, 1))
        for size in (3, 4, 5):
            for start in range(len(padded) - size + 1):
                add(hash_of(padded[start : start + size]) + size, each)
    for one, two, a, b in zip(words, words[1:], weights, weights[1:], strict=False):
        add(hash_of(one) * 0x9E3779B97F4A7C15 + hash_of(two) + 1, min(a, b) * settings.word_pair)
    if abs(sums).max() < 1e-9:
        sums[:] = 0
        sums[hash_of(text.lower().encode(errors="replace")) % settings.dimension] = 1
    return sums / np.linalg.norm(sums)


@given(st.lists(st.text(alphabet="ab cdé9.\n?日", max_size=30), min_size=1, max_size=5))
def test_vectors_are_those_of_the_definition(texts: list[str]) -> None:
    found = HashingEmbedder(PLAIN).embed(texts)
    expected = np.array([plainly(text, PLAIN) for text in texts])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_chunks_leave_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"text {number} of many " + "long " * (number % 7) for number in range(300)]
    whole = HashingEmbedder().embed(texts)
    monkeypatch.setattr(hashing_embedder, "_CHUNK_TEXTS", 7)
    monkeypatch.setattr(hashing_embedder, "_CHUNK_BYTES", 64)
    np.testing.assert_allclose(HashingEmbedder().embed(texts), whole, atol=1e-6)


def test_a_megabyte_of_text_has_a_vector() -> None:
    vector = HashingEmbedder().embed(["word " * 200_000])[0]
    assert vector @ HashingEmbedder().embed(["word word word"])[0] > 0.9


def test_stop_words_hardly_count() -> None:
    one, two, other = HashingEmbedder().embed(["the piano", "and what of his piano", "the guitar"])
    assert one @ two > 0.9
    assert one @ other < 0.5


def test_every_setting_changes_the_identity() -> None:
    settings = HashingSettings()
    changed = {
        field.name: dataclasses.replace(settings, **{field.name: getattr(settings, field.name) * 0.5})
        for field in dataclasses.fields(settings)
    }
    changed["dimension"] = HashingSettings(dimension=200)
    hashes = {HashingEmbedder(each).identity.hash for each in (settings, *changed.values())}
    assert len(hashes) == 1 + len(changed)


@pytest.mark.parametrize("wrong", [{"dimension": 1}, {"word": 0.0}, {"runs": -1.0}])
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"give|above 0"):
        HashingSettings(**wrong)  # type: ignore[arg-type]  # dimension is an int where it is given
