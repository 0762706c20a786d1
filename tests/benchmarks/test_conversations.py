"""The conversations are what they are said to be, and the ranking keeps the recall that it has on them."""

import numpy as np
import pytest

from benchmarks.conversation_recall import SPLITS, VARIANTS, measure, recall
from benchmarks.conversations import KINDS, Conversation, Split, conversation, load_script
from inference.hashing_embedder import HashingEmbedder


def values_of(split: Split) -> set[str]:
    """All that a script may put into a conversation: its lines, names, places and things."""
    script = load_script(split)
    exchanges = [exchange for each in script.exchanges.values() for exchange in each]
    lines = [text for exchange in exchanges for _, text, _ in exchange.lines if text != "And?"]
    idle = [text for each in script.idle.values() for text in each]
    things = [thing for exchange in exchanges for pair in exchange.pairs for thing in pair]
    questions = [text for exchange in exchanges for text in exchange.questions]
    return {*script.names, *script.towns, *script.pets, *lines, *idle, *things, *questions}


def test_the_two_scripts_share_no_line_name_place_or_thing() -> None:
    assert values_of("development") & values_of("heldout") == set()


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_conversation_is_long_and_repeatable_and_its_evidence_is_in_it(split: Split, kind: str) -> None:
    made = conversation(split, kind, 3)
    assert made == conversation(split, kind, 3)
    assert made != conversation(split, kind, 4)
    assert 400 <= len(made.turns) <= 700
    assert 20 <= len({turn.session for turn in made.turns}) <= 30
    assert [turn.time for turn in made.turns] == sorted(turn.time for turn in made.turns)
    assert len(made.questions) >= 60
    for question in made.questions:
        assert question.evidence
        assert max(question.evidence) < len(made.turns)
        assert "{" not in question.text
    assert not any("{" in turn.text for turn in made.turns)


def recalled(talk: Conversation, variant: str) -> tuple[float, float]:
    return recall(talk, HashingEmbedder(), VARIANTS[variant])


def test_recall_stays_where_it_is_on_templates_that_were_not_tuned_on() -> None:
    talks = {kind: conversation("heldout", kind, 1) for kind in KINDS}
    found = {kind: recalled(talk, "ranking") for kind, talk in talks.items()}
    plain = np.mean([found[kind] for kind in ("chat", "code", "facts")], axis=0)
    assert plain[0] >= 80
    assert plain[1] >= 93
    assert found["paraphrase"][0] >= 38
    bm25 = recalled(talks["chat"], "BM25 alone")
    assert bm25[0] < found["chat"][0] - 15


def test_figures_are_told_for_each_kind_and_split() -> None:
    outcome = measure(1, kinds=["paraphrase"])
    assert set(outcome.figures) == {
        f"{split}_paraphrase_{what}" for split in SPLITS for what in ("recall_at_10", "session_recall_at_10")
    }
    assert [table.row_count for table in outcome.tables] == [len(VARIANTS)] * 2
