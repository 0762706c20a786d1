"""Deliberations: who is asked what, when it ends, and the plain vote at the same budget beside each result."""

from collections import deque
from collections.abc import Callable, Sequence
from random import Random

import pytest

from actors import ConfigurationError
from actors.state import decode_state, encode_state
from coordination.quorum import majority
from coordination.voting import (
    Abstention,
    Answer,
    Choice,
    Debate,
    Deliberated,
    Deliberation,
    Delphi,
    Election,
    Electorate,
    Estimate,
    Expired,
    Judging,
    Method,
    Number,
    Question,
    Reputation,
    Survey,
    Tally,
    Transcript,
    Vote,
    borda,
    deliberated_data,
    kemeny,
    krum,
    median,
    ranking,
)
from coordination.voting.deliberation import outcome_data
from coordination.voting.election import Outcome

PANEL = ("ann", "bob", "cyd")
Replying = Callable[[Question], tuple[Vote, int] | None]


def run(
    method: Method, reply: Replying, *, seed: int = 1, late: bool = False
) -> tuple[Deliberated, Transcript]:
    """Asks all questions, in another order than they came in if `late`; who gives None stays silent."""
    rng = Random(seed)
    deliberation = Deliberation(method)
    open_questions = deque(deliberation.begin(rng))
    for _ in range(100_000):
        if deliberation.result is not None:
            return deliberation.result, deliberation.transcript
        if open_questions:
            question = open_questions.pop() if late else open_questions.popleft()
            given = reply(question)
            if given is not None:
                vote, tokens = given
                answer = Answer(question.to, question.number, vote, tokens, reason=f"{question.to} says")
                open_questions.extend(deliberation.handle(answer, rng))
        else:
            open_questions.extend(deliberation.handle(Expired(deliberation.transcript.wave), rng))
    raise AssertionError("the deliberation does not end")


def winner(outcome: Outcome) -> str | None:
    assert isinstance(outcome, Tally)
    return outcome.winner


def value(outcome: Outcome) -> float | tuple[float, ...] | None:
    assert isinstance(outcome, Estimate)
    return outcome.value


def stubborn(**answers: str) -> Replying:
    return lambda question: (Choice(answers[question.to]), 10)


def follower(question: Question) -> tuple[Vote, int]:
    """Drafts by name, and joins the most frequent opinion of the others when there is one."""
    if question.kind == "revise":
        heard = sorted(
            (o.vote.candidate for o in question.opinions if isinstance(o.vote, Choice)), reverse=True
        )
        return Choice(max(heard, key=heard.count)), 30
    return Choice({"ann": "x", "bob": "y", "cyd": "y"}[question.to]), 10


# --- Debate -----------------------------------------------------------------------------------------------------


def test_all_draft_alone_then_read_the_others_and_answer_again() -> None:
    _, script = run(Debate(PANEL, rounds=1, named=True, topic="which?"), stubborn(ann="x", bob="y", cyd="y"))
    drafts, revisions = script.questions[:3], script.questions[3:6]
    assert [(q.to, q.kind, q.round, q.opinions, q.topic) for q in drafts] == [
        (name, "draft", 0, (), "which?") for name in PANEL
    ]
    for question in revisions:
        assert (question.kind, question.round) == ("revise", 1)
        assert sorted(opinion.author for opinion in question.opinions) == [
            n for n in PANEL if n != question.to
        ]


def test_names_are_not_shown_unless_asked_for() -> None:
    _, script = run(Debate(PANEL, rounds=1), stubborn(ann="x", bob="y", cyd="y"))
    assert {opinion.author for question in script.questions for opinion in question.opinions} == {""}


def test_one_hears_only_whom_one_is_to_hear() -> None:
    ring = {"ann": ["bob"], "bob": ["cyd"], "cyd": ["ann"]}
    _, script = run(Debate(PANEL, rounds=1, hears=ring, named=True), stubborn(ann="x", bob="y", cyd="y"))
    assert [[o.author for o in q.opinions] for q in script.questions[3:6]] == [["bob"], ["cyd"], ["ann"]]


def test_a_debate_ends_when_all_agree_or_after_its_rounds() -> None:
    agreed, _ = run(Debate(PANEL, rounds=5), follower)
    assert winner(agreed.outcome) == "y"
    assert agreed.rounds == 1
    split, _ = run(Debate(PANEL, rounds=5), stubborn(ann="x", bob="y", cyd="z"))
    assert split.rounds == 5
    on, _ = run(Debate(PANEL, rounds=5, until_agreed=False), follower)
    assert on.rounds == 5


def test_the_vote_after_each_round_is_told() -> None:
    result, _ = run(Debate(PANEL, rounds=5), follower)
    assert [outcome_data(tally)["scores"] for tally in result.by_round] == [{"x": 1, "y": 2}, {"y": 3}]


def test_a_debate_may_be_about_rankings_and_have_a_quorum() -> None:
    election = Election(borda, ("x", "y", "z"), Electorate(PANEL, majority(range(3))))
    result, _ = run(Debate(PANEL, 1, election), lambda question: (ranking("z", "x", "y"), 5))
    assert isinstance(result.outcome, Tally)
    assert (result.outcome.winner, result.outcome.quorum_met, result.outcome.rule) == ("z", True, "borda")


@pytest.mark.parametrize("method", [Debate(PANEL, 2), Judging(PANEL, ("ann", "jo"))], ids=lambda m: m.name)
def test_the_order_in_which_answers_come_changes_nothing(method: Method) -> None:
    def reply(question: Question) -> tuple[Vote, int]:
        if question.options:
            return Choice(sorted(question.options)[0]), 20
        return Choice("xyz"[(PANEL.index(question.to) + question.round) % 3]), 10 + question.number % 3

    for seed in range(10):
        one, other = (deliberated_data(run(method, reply, seed=seed, late=late)[0]) for late in (False, True))
        assert one == other, f"seed {seed}"


# --- The plain vote at the same budget --------------------------------------------------------------------------


def test_beside_each_debate_stands_the_plain_vote_at_the_same_budget() -> None:
    result, script = run(Debate(PANEL, rounds=2), stubborn(ann="x", bob="y", cyd="z"))
    assert result.tokens == result.plain.budget == 90
    assert (result.plain.tokens, result.plain.samples) == (90, 9)  # 3 drafts and 6 samples more
    samples = [question for question in script.questions if question.kind == "sample"]
    assert [question.to for question in samples] == ["ann", "bob", "cyd"] * 2
    assert all(question.opinions == () for question in samples)
    assert isinstance(result.plain.outcome, Tally)
    assert result.plain.outcome.scores == {"x": 3, "y": 3, "z": 3}


def test_the_plain_vote_never_costs_more_and_at_most_a_sample_less() -> None:
    for seed in range(50):
        costs = Random(seed)
        result, script = run(
            Debate(PANEL, rounds=costs.randint(0, 3)),
            lambda question, costs=costs: (  # type: ignore[misc]  # binds this seed's generator
                Choice(costs.choice("xyz")),
                costs.randint(1, 100) * (1 + len(question.opinions)),
            ),
            seed=seed,
        )
        dearest = max(a.tokens for question, a in script.given("draft", "sample"))
        mean = result.plain.tokens / result.plain.samples
        assert result.plain.tokens <= result.tokens, f"seed {seed}"
        assert result.tokens - result.plain.tokens < max(dearest, mean), f"seed {seed}"


def test_a_liar_about_costs_cannot_make_the_baseline_dear() -> None:
    def reply(question: Question) -> tuple[Vote, int]:
        return Choice(question.to), 10**9 if question.kind == "revise" and question.to == "cyd" else 10

    deliberation = Deliberation(Debate(PANEL, rounds=1), samples=20)
    rng = Random(1)
    waiting = list(deliberation.begin(rng))
    while waiting:
        question = waiting.pop(0)
        vote, tokens = reply(question)
        waiting += deliberation.handle(Answer(question.to, question.number, vote, tokens), rng)
    assert deliberation.result is not None
    plain = deliberation.result.plain
    assert (plain.samples, plain.tokens, plain.budget) == (23, 230, 10**9 + 50)
    with pytest.raises(ConfigurationError, match="Give 0 to"):
        Deliberation(Debate(PANEL), samples=-1)


def test_too_few_answers_for_the_rule_are_told_and_stop_nobody() -> None:
    counting = Survey(krum(1))  # needs five
    result, _ = run(
        Debate(tuple("abcdef"), 0, counting), lambda q: (Number(1), 10) if q.to in "abc" else None
    )
    assert value(result.outcome) is None
    assert isinstance(result.outcome, Estimate)
    assert "3 ballots cannot withstand 1 liars" in result.outcome.reason
    answers = iter(range(100))
    many, _ = run(
        Debate(tuple("abcdefghijklmnop"), 0, Election(kemeny)), lambda q: (Choice(f"c{next(answers)}"), 1)
    )
    assert winner(many.outcome) is None
    assert isinstance(many.outcome, Tally)
    assert "too many to count exactly" in many.outcome.reason
    assert many.outcome.turnout.voted == 16


def test_without_rounds_the_debate_is_the_plain_vote() -> None:
    result, script = run(Debate(PANEL, rounds=0), stubborn(ann="x", bob="y", cyd="y"))
    assert len(script.questions) == 3
    assert result.plain.tokens == result.tokens
    assert outcome_data(result.plain.outcome) == outcome_data(result.outcome)


def test_a_talk_that_misleads_is_seen_beside_the_plain_vote() -> None:
    def herd(question: Question) -> tuple[Vote, int]:
        if question.kind == "revise":
            return Choice("wrong"), 30
        return Choice("wrong" if question.to == "ann" else "right"), 10

    result, _ = run(Debate(PANEL, rounds=2), herd)
    assert winner(result.outcome) == "wrong"
    assert winner(result.plain.outcome) == "right"
    assert winner(result.by_round[0]) == "right"


def test_weights_and_quorum_are_not_in_the_plain_vote() -> None:
    reputation = Reputation(records={"ann": (50.0, 0.0), "bob": (0.0, 0.0), "cyd": (0.0, 0.0)})
    counting = Election(borda, ("x", "y"), Electorate(PANEL, majority(range(3)), reputation))
    result, _ = run(Debate(PANEL, 0, counting), stubborn(ann="x", bob="y", cyd="y"))
    assert winner(result.outcome) == "x"
    assert winner(result.plain.outcome) == "y"


# --- Silence and nonsense ---------------------------------------------------------------------------------------


def test_who_stays_silent_costs_one_deadline() -> None:
    result, script = run(
        Debate(PANEL, rounds=3), lambda question: None if question.to == "bob" else (Choice(question.to), 10)
    )
    assert script.silent == ["bob"]
    assert [question.to for question in script.questions].count("bob") == 1
    assert result.outcome.turnout.voted == 2
    assert result.rounds == 3


def test_where_all_are_silent_nobody_wins() -> None:
    result, _ = run(Debate(PANEL, rounds=3), lambda question: None)
    assert isinstance(result.outcome, Tally)
    assert (result.outcome.winner, result.outcome.reason, result.tokens) == (None, "nobody voted", 0)
    assert result.plain.samples == 0


def test_an_answer_that_cannot_be_counted_is_an_abstention_that_was_paid_for() -> None:
    result, script = run(
        Debate(PANEL, rounds=0), lambda question: (Number(3) if question.to == "bob" else Choice("x"), 10)
    )
    assert (result.tokens, result.outcome.turnout.abstained) == (30, 1)
    assert script.notes == ["'bob', question 2: casts a Number, not one of Choice"]


def test_only_who_was_asked_may_answer_and_once() -> None:
    deliberation = Deliberation(Debate(PANEL, rounds=0))
    rng = Random(1)
    deliberation.begin(rng)
    for answer in (
        Answer("bob", 1, Choice("x"), 10),  # another's question
        Answer("ann", 77, Choice("x"), 10),
        Answer("zoe", 1, Choice("x"), 10),
    ):
        assert deliberation.handle(answer, rng) == ()
    assert len(deliberation.transcript.notes) == 3
    deliberation.handle(Answer("ann", 1, Choice("x"), 10), rng)
    deliberation.handle(Answer("ann", 1, Choice("y"), 10), rng)
    assert [answer.vote for answer in deliberation.transcript.answers] == [Choice("x")]
    assert deliberation.handle(Expired(0), rng) == ()  # of a wave that is over
    assert deliberation.result is None


def test_a_deliberation_begins_once_and_needs_a_panel() -> None:
    deliberation = Deliberation(Debate(PANEL))
    deliberation.begin(Random(1))
    with pytest.raises(ConfigurationError, match="has begun already"):
        deliberation.begin(Random(1))
    with pytest.raises(ConfigurationError, match="Give 1 to"):
        Deliberation(Debate(()))
    with pytest.raises(ConfigurationError, match="Give 0 to"):
        Debate(PANEL, rounds=-1)
    with pytest.raises(ConfigurationError, match="there is no judge"):
        Judging(PANEL, ())
    with pytest.raises(ConfigurationError, match="Give 1 to"):
        Answer("ann", 1, Choice("x"), 0)


def test_a_transcript_is_all_there_is_to_save() -> None:
    method = Debate(PANEL, rounds=2)
    rng = Random(1)
    waiting = list(Deliberation(method, transcript := Transcript()).begin(rng))
    while waiting:
        question = waiting.pop(0)
        transcript = decode_state(encode_state(transcript))  # as if the process had died
        deliberation = Deliberation(method, transcript)
        vote, tokens = follower(question)
        waiting += deliberation.handle(Answer(question.to, question.number, vote, tokens, "ann says"), rng)
    assert deliberation.result is not None
    assert winner(deliberation.result.outcome) == "y"


# --- Delphi -----------------------------------------------------------------------------------------------------


def experts(values: Sequence[float], pull: float) -> Replying:
    """Each goes from a private estimate towards the median that is told."""
    held = dict(zip("abcdefgh", values, strict=False))

    def reply(question: Question) -> tuple[Vote, int]:
        if question.kind == "revise":
            held[question.to] += pull * (question.summary["median"] - held[question.to])
        return Number(held[question.to]), 10

    return reply


def test_delphi_tells_median_and_quartiles_and_the_reasons_of_those_apart() -> None:
    _, script = run(Delphi(tuple("abcde"), rounds=1), experts([1, 2, 3, 4, 100], 0.5))
    revision = script.questions[5]
    assert revision.summary == {"median": 3, "lower": 2, "upper": 4, "answers": 5}
    assert [opinion.reason for opinion in revision.opinions] == ["e says"]  # not a's own
    assert [opinion.author for opinion in revision.opinions] == [""]


def test_delphi_ends_when_the_quartiles_are_close() -> None:
    result, _ = run(Delphi(tuple("abcde"), rounds=50, spread=0.1), experts([1, 2, 3, 4, 100], 0.5))
    assert isinstance(result.outcome, Estimate)
    assert result.outcome.value == pytest.approx(3)
    assert 4 <= result.rounds <= 6
    assert isinstance(result.plain.outcome, Estimate)
    assert result.plain.tokens == result.tokens


def test_delphi_takes_numbers_only() -> None:
    result, script = run(Delphi(PANEL, rounds=1), lambda q: (Choice("x") if q.to == "bob" else Number(2), 10))
    assert value(result.outcome) == 2
    assert "not a Number" in script.notes[0]
    with pytest.raises(ConfigurationError, match="Give 0 or more"):
        Delphi(PANEL, spread=float("nan"))


def test_a_debate_may_be_about_numbers() -> None:
    result, _ = run(
        Debate(PANEL, 1, Survey(median)), lambda q: (Number({"ann": 1, "bob": 5, "cyd": 9}[q.to]), 10)
    )
    assert value(result.outcome) == 5


# --- Judging ----------------------------------------------------------------------------------------------------


def test_a_judge_chooses_among_the_drafts_without_names() -> None:
    def reply(question: Question) -> tuple[Vote, int]:
        if question.kind == "judge":
            assert sorted(question.options) == ["x", "y"]
            assert question.opinions == ()
            return Choice("x"), 50
        return Choice("x" if question.to == "ann" else "y"), 10

    result, _ = run(Judging(PANEL, ("jo",)), reply)
    assert winner(result.outcome) == "x"
    assert result.tokens == 80
    assert winner(result.plain.outcome) == "y"
    assert result.plain.samples == 8
    assert result.rounds == 0


def test_each_judge_gets_an_order_of_its_own() -> None:
    judges = tuple(f"judge {number}" for number in range(20))
    _, script = run(
        Judging(tuple("abcd"), judges), lambda q: (Choice(q.options[0] if q.options else q.to), 10)
    )
    orders = {question.options for question in script.questions if question.kind == "judge"}
    assert len(orders) > 8


def test_judges_vote_by_reputation() -> None:
    def reply(question: Question) -> tuple[Vote, int]:
        if question.kind == "judge":
            return Choice("x" if question.to == "wise" else "y"), 10
        return Choice("x" if question.to == "ann" else "y"), 10

    judges = ("wise", "fool", "dupe")
    reputation = Reputation(records={"wise": (30.0, 0.0), "fool": (2.0, 6.0), "dupe": (2.0, 6.0)})
    assert winner(run(Judging(PANEL, judges), reply)[0].outcome) == "y"
    result, _ = run(Judging(PANEL, judges, weighting=reputation), reply)
    assert isinstance(result.outcome, Tally)
    assert result.outcome.winner == "x"
    after = reputation.after(result.outcome, "x")
    assert after.of("wise") > reputation.of("wise")
    assert after.of("fool") < reputation.of("fool")


def test_a_verdict_for_what_nobody_drafted_is_none() -> None:
    result, script = run(
        Judging(PANEL, ("jo",)), lambda q: (Choice("mine" if q.kind == "judge" else "x"), 10)
    )
    assert winner(result.outcome) is None
    assert "'jo', question 4: votes for 'mine', which is no candidate" in script.notes
    nothing, _ = run(Judging(PANEL, ("jo",)), lambda q: (Abstention(), 10))
    assert winner(nothing.outcome) is None


def test_a_result_is_told_as_plain_data_with_the_plain_vote_in_it() -> None:
    told = deliberated_data(run(Debate(PANEL, rounds=1), follower)[0])
    assert told["method"] == "debate"
    assert told["outcome"]["winner"] == "y"
    assert told["plain"]["tokens"] <= told["tokens"]
    assert [row["winner"] for row in told["by_round"]] == ["y", "y"]
