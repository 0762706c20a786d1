"""What is drawn: the same from the same seed, nothing shared by training and test, and only right answers pass."""

import json
import random
import re
from hashlib import sha256
from itertools import islice

import pytest

from inference.message import ToolCall
from inference.request import Request
from inference.tiny import bids, hailstone, routing, tools, votes
from inference.tiny.conversation import Conversation, Family
from inference.tiny.families import FAMILIES, held_out, training
from inference.tiny.template import rendered
from inference.tiny.votes import MEASURES

TRAINED = 4_000
TESTED = 150
by_name = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


def digest(conversation: Conversation) -> str:
    return sha256(rendered(conversation.messages, conversation.tools).encode()).hexdigest()


@pytest.fixture(scope="module")
def trained() -> list[Conversation]:
    return list(islice(training(0), TRAINED))


@by_name
def test_the_same_seed_gives_the_same_conversations(family: Family) -> None:
    first = [family.draw(random.Random(seed)) for seed in range(20)]
    assert first == [family.draw(random.Random(seed)) for seed in range(20)]
    assert len({digest(each) for each in first}) > 1
    assert held_out(family, 1, 20) == held_out(family, 1, 20) != held_out(family, 2, 20)


def test_training_is_the_same_every_time_and_mixes_all_families(trained: list[Conversation]) -> None:
    assert list(islice(training(0), 50)) == trained[:50] != list(islice(training(1), 50))
    assert {each.family for each in trained} == {family.name for family in FAMILIES}


@by_name
def test_no_prompt_and_no_facts_of_the_test_occur_in_training(
    family: Family, trained: list[Conversation]
) -> None:
    tested = held_out(family, 0, TESTED)
    assert {digest(each) for each in tested}.isdisjoint(digest(each) for each in trained)
    assert {each.key for each in tested}.isdisjoint(each.key for each in trained)
    assert len({digest(each) for each in tested}) == TESTED


@by_name
def test_a_prompt_decides_its_facts_and_its_answer(family: Family) -> None:
    """So that one prompt cannot be drawn with two keys, one held out and one not."""
    rng, known = random.Random(3), {}
    for _ in range(2_000):
        each = family.draw(rng)
        assert known.setdefault(digest(each), (each.key, each.expected)) == (each.key, each.expected)


@by_name
def test_exactly_the_right_answer_passes(family: Family) -> None:
    rng = random.Random(4)
    for _ in range(100):
        each = family.draw(rng)
        right = each.expected
        assert each.is_answered_by(right)
        assert each.is_answered_by(f" {right}\n")
        assert not each.is_answered_by("")
        assert not each.is_answered_by(right + " x")
        assert not each.is_answered_by("x " + right)
        assert not each.is_answered_by(right[:-1])
        for digit in re.findall(r"\d", right)[:1]:
            assert not each.is_answered_by(right.replace(digit, str(9 - int(digit))))
        assert not each.is_answered_by(re.sub(r"[a-z]{3,}", "other", right))


def test_json_may_be_spaced_as_it_likes_but_not_change_its_values() -> None:
    conversation = next(each for each in held_out(FAMILIES[0], 0, 1))
    value = json.loads(conversation.expected)
    assert conversation.is_answered_by(json.dumps(value, indent=1))
    assert not conversation.is_answered_by(json.dumps({**value, "vote": value["vote"] == "yes"}))
    assert not conversation.is_answered_by(json.dumps({**value, "more": 1}))


def test_calls_may_come_apart_from_the_text_as_an_engine_gives_them() -> None:
    conversation = next(each for each in held_out(FAMILIES[2], 0, 20) if each.calls)
    (call,), said = conversation.calls, conversation.text
    assert conversation.is_answered_by(said, [ToolCall("other", call.name, call.arguments)])
    assert conversation.is_answered_by(said, [ToolCall("other", call.name, call.arguments.replace(" ", ""))])
    assert not conversation.is_answered_by(said, [ToolCall("other", "x", call.arguments)])
    assert not conversation.is_answered_by(said, [call, call])
    assert not conversation.is_answered_by("Here it is.", [call])
    assert not conversation.is_answered_by("", [call])
    assert not conversation.is_answered_by(said)


@by_name
def test_every_conversation_is_a_request_that_can_be_sent(family: Family) -> None:
    for each in held_out(family, 0, 20):
        assert Request(each.messages, tools=each.tools).tools == each.tools
        for call in each.calls:
            known = {tool.name: tool for tool in each.tools}[call.name]
            assert sorted(call.values()) == sorted(known.parameters["required"])


def test_a_vote_follows_from_the_facts() -> None:
    cost, benefit = MEASURES[0], MEASURES[3]
    assert json.loads(votes.ballot(cost, 37, 37)) == {
        "reason": "has cost 37, budget 37: within",
        "vote": "yes",
    }
    assert json.loads(votes.ballot(cost, 38, 37)) == {"reason": "has cost 38, budget 37: over", "vote": "no"}
    assert json.loads(votes.ballot(benefit, 5, 5)) == {
        "reason": "has benefit 5, target 5: reached",
        "vote": "yes",
    }
    assert json.loads(votes.ballot(benefit, 4, 5)) == {
        "reason": "has benefit 4, target 5: short",
        "vote": "no",
    }


def test_a_bid_a_route_and_a_step_follow_from_their_rules() -> None:
    assert json.loads(bids.bid("design", 8, 7)) == {
        "reason": "has design 8, size 7",
        "confidence": 0.8,
        "cost": 9,
    }
    assert json.loads(routing.route("network", ["billing"], True)) == {
        "reason": "is for network, away",
        "team": "helpdesk",
        "urgent": True,
    }
    assert json.loads(routing.route("network", ["network"], False)) == {
        "reason": "is for network",
        "team": "network",
        "urgent": False,
    }
    assert [hailstone.step(number) for number in (1, 2, 27, 999)] == [4, 1, 82, 2998]


def test_a_question_without_its_tool_is_answered_by_saying_so() -> None:
    drawn = [tools.draw_call(random.Random(seed)) for seed in range(200)]
    without = [each for each in drawn if not each.calls]
    assert 0 < len(without) < 60
    for each in without:
        needed = next(skill for skill in tools.SKILLS if skill.missing == each.text)
        assert needed.tool not in each.tools


def test_more_prompts_than_there_are_is_an_error_not_a_loop() -> None:
    with pytest.raises(ValueError, match="hailstone has no 5000"):
        held_out(FAMILIES[-1], 0, 5_000)
