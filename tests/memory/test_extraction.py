"""What rules find in sentences, and what of a model's answer is believed."""

import asyncio
import json

import pytest

from inference.scripted import ScriptedLLM
from memory.extraction import ANSWER_MAX, FACTS_MAX, extract_by_model, extract_facts, extract_with


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I live in Turin now.", ("Ada", "lives in", "Turin")),
        ("My sister lives in Cork, near the sea.", ("Ada's sister", "lives in", "Cork")),
        ("Bo Larsen works for the Harbour Office.", ("Bo Larsen", "works at", "Harbour Office")),
        ("I am allergic to nuts and dust.", ("Ada", "allergic to", "nuts")),
        ("The billing service listens on port 8080.", ("billing service", "port", "8080")),
        ("I just moved to Ghent because of work.", ("Ada", "lives in", "Ghent")),
        ("Bo adopted a grey cat.", ("Bo", "has", "grey cat")),
        ("My name is Ada Byron!", ("Ada", "name", "Ada Byron")),
        ("I'm glad. Bo is married to Mei.", ("Bo", "married to", "Mei")),
    ],
)
def test_rules_find_what_a_sentence_states(text: str, expected: tuple[str, str, str]) -> None:
    found = [(fact.subject, fact.relation, fact.object) for fact in extract_facts(text, "Ada").facts]
    assert expected in found


@pytest.mark.parametrize(
    "text",
    [
        "Do I live in Turin?",
        "I do not live in Turin.",
        "Maybe I live in Turin.",
        "I would like tea.",
        "",
        "He lives in Turin.",
    ],
)
def test_questions_negations_guesses_and_pronouns_state_nothing(text: str) -> None:
    assert extract_facts(text, "Ada").facts == ()


def test_without_a_speaker_i_is_nobody() -> None:
    assert extract_facts("I live in Turin. My dog is a spaniel.").facts == ()


def test_a_models_answer_is_checked_against_the_text() -> None:
    entries = [
        {"subject": "Ada", "relation": "owns", "object": "a boat"},
        {"subject": "Ada", "relation": "owns", "object": "a castle"},
        {"subject": "Ada", "relation": "", "object": "boat"},
        "no object",
    ]
    asked = []

    def model(prompt: str) -> str:
        asked.append(prompt)
        return f"Here you are: {json.dumps(entries)} Anything else?"

    found = extract_with(model, "I bought a boat", "Ada")
    assert [(fact.subject, fact.object) for fact in found.facts] == [("Ada", "a boat")]
    assert found.refused == 3
    assert "I bought a boat" in asked[0]


def test_a_language_model_is_asked_like_any_other_and_checked_like_any_other() -> None:
    answer = json.dumps(
        [{"subject": "Ada", "relation": "owns", "object": each} for each in ("a boat", "a castle")]
    )
    model = ScriptedLLM(lambda request, _: f"Here: {answer}" if "a boat" in request.messages[-1].text else "")
    found = asyncio.run(extract_by_model(model, "I bought a boat", "Ada"))
    assert [(fact.subject, fact.object) for fact in found.facts] == [("Ada", "a boat")]
    assert found.refused == 1


@pytest.mark.parametrize("answer", ["", "no list", "[", '{"a": 1}', "[" * 100_000, "[1" + "0" * ANSWER_MAX])
def test_an_answer_that_is_no_list_gives_nothing(answer: str) -> None:
    assert extract_with(lambda _: answer, "text").facts == ()


def test_facts_are_limited() -> None:
    entries = [
        {"subject": "Ada", "relation": f"r{number}", "object": "boat"} for number in range(FACTS_MAX + 7)
    ]
    found = extract_with(lambda _: json.dumps(entries), "Ada boat")
    assert (len(found.facts), found.refused) == (FACTS_MAX, 7)
