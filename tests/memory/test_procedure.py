"""Workflows: opened by their parameters, filled again, found for like tasks, retired when they fail."""

import pytest

from memory.errors import InvalidItem
from memory.procedure import Procedure, Step, abstract, procedure_of, retrieve, same_workflow

STEPS = (
    Step("search", {"query": "invoice of ACME"}),
    Step("mail", {"to": "billing@acme.example", "text": "ACME owes 40 EUR, not 400"}),
)
VALUES = {"customer": "ACME", "sum": "40", "address": "billing@acme.example"}


def refund() -> Procedure:
    return abstract(
        "refund ACME", STEPS, VALUES, preconditions=("ACME has paid",), outcome="ACME has 40 EUR back"
    )


def test_values_become_parameters_where_they_stand_as_wholes() -> None:
    made = refund()
    assert made.task == "refund {customer}"
    assert made.steps[1].arguments == {"to": "{address}", "text": "{customer} owes {sum} EUR, not 400"}
    assert made.parameters == ("customer", "address", "sum")


def test_filling_in_the_same_values_gives_the_same_steps() -> None:
    assert refund().instantiate(VALUES) == STEPS


def test_two_runs_that_differ_in_their_particulars_are_one_workflow() -> None:
    other = abstract(
        "refund Zenit",
        (
            Step("search", {"query": "invoice of Zenit"}),
            Step("mail", {"to": "z@z.example", "text": "Zenit owes 7 EUR, not 400"}),
        ),
        {"customer": "Zenit", "sum": "7", "address": "z@z.example"},
        preconditions=("Zenit has paid",),
    )
    assert same_workflow(refund(), other.reported(worked=False))
    assert not same_workflow(refund(), abstract("refund ACME", STEPS, {"customer": "ACME"}))


def test_it_survives_its_item() -> None:
    made = refund().reported(worked=False)
    assert procedure_of(made.to_attributes()) == made
    with pytest.raises(InvalidItem, match="not a procedure"):
        procedure_of({"task": "x"})
    assert "1. search(query=invoice of {customer})" in made.text


def test_its_rate_follows_its_record_and_it_is_retired_only_for_failing() -> None:
    made = refund()
    assert made.rate == pytest.approx(2 / 3)
    unlucky = made.reported(worked=False)
    assert unlucky.rate == pytest.approx(0.5)
    assert not unlucky.is_retired()
    for _ in range(8):
        unlucky = unlucky.reported(worked=False)
    assert unlucky.is_retired()
    assert not Procedure("x", STEPS, successes=50, failures=50).is_retired()


def test_like_tasks_find_it_the_better_record_first() -> None:
    good, bad = refund(), abstract("refunding a customer", STEPS[:1], {}).reported(worked=False)
    other = Procedure("water the plants", (Step("pump", {}),))
    found = retrieve("issue refunds", [other, bad, good])
    assert [procedure for procedure, _ in found] == [good, bad]
    assert 0 < found[1][1] < found[0][1] < 1
    assert retrieve("issue refunds", [good], false_conditions={"{customer} has paid"}) == []
    assert retrieve("paint", [good, bad]) == []
    assert retrieve("refund", [Procedure("refund", STEPS, successes=0, failures=20)]) == []
    assert retrieve("refund", []) == []


def test_what_cannot_be_opened_or_filled_is_refused() -> None:
    with pytest.raises(InvalidItem, match="needs a value for address, sum"):
        refund().instantiate({"customer": "x"})
    with pytest.raises(InvalidItem, match="two parameters have one value"):
        abstract("x", STEPS, {"a": "ACME", "b": "ACME"})
    with pytest.raises(InvalidItem, match="empty value"):
        abstract("x", STEPS, {"a": " "})
    with pytest.raises(InvalidItem, match="1 to 200 steps"):
        Procedure("x", ())
