"""Words of like meaning: what the list says, which relatives count how much, and what a wrong list says."""

from pathlib import Path

import pytest

from memory.errors import InvalidItem
from memory.text import STOP_WORDS, stem
from memory.thesaurus import THESAURUS_FILE, Thesaurus, ThesaurusSettings, load_thesaurus

SETTINGS = ThesaurusSettings(alike=0.6, kind=0.5)


def related(thesaurus: Thesaurus, word: str) -> dict[str, float]:
    return dict(thesaurus.related(stem(word)))


def test_words_on_a_line_are_alike_and_kinds_are_near_their_head_alone() -> None:
    made = Thesaurus(["sofa couch", "pet: dog cat"], SETTINGS)
    assert related(made, "sofas") == {"couch": 0.6}
    assert related(made, "pet") == {"dog": 0.5, "cat": 0.5}
    assert related(made, "cats") == {"pet": 0.5}
    assert related(made, "piano") == {}


def test_a_word_on_two_lines_keeps_the_nearest_relation_and_is_none_of_its_own() -> None:
    made = Thesaurus(["pet: dog hound", "dog hound", "dog dogs"], SETTINGS)
    assert related(made, "dog") == {"pet": 0.5, "hound": 0.6}


def test_relations_that_count_nothing_are_left_out() -> None:
    assert len(Thesaurus(["pet: dog cat"], ThesaurusSettings(kind=0))) == 0


def test_the_list_that_comes_with_the_package_is_tidy_and_knows_everyday_words() -> None:
    text = THESAURUS_FILE.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and line[0] not in "#["]
    assert len(lines) > 500
    assert len(set(lines)) == len(lines)
    for line in lines:
        words = line.replace(":", "").split()
        assert not set(words) & STOP_WORDS, line
        assert all(word.isalpha() and word.islower() for word in words), line
        assert line.count(":") <= 1, line
    thesaurus = load_thesaurus(ThesaurusSettings())
    assert stem("puppy") in related(thesaurus, "dogs")
    assert stem("doctor") in related(thesaurus, "physicians")
    assert stem("tax") not in related(thesaurus, "dog")


def test_a_file_that_is_no_thesaurus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidItem, match="no thesaurus"):
        load_thesaurus(ThesaurusSettings(file=tmp_path / "missing.txt"))
    file = tmp_path / "words.txt"
    file.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(InvalidItem, match="no thesaurus"):
        load_thesaurus(ThesaurusSettings(file=file))
    with pytest.raises(InvalidItem, match="line 1"):
        Thesaurus([" ".join(f"w{place}" for place in range(65))], SETTINGS)
    with pytest.raises(InvalidItem, match="0 to 1"):
        ThesaurusSettings(alike=1.5)
