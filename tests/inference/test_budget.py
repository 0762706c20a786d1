"""Ceilings hold: whatever calls come and however they end, what is spent stays within them, but for calls in flight."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.budget import Budget, Reservation
from inference.errors import BudgetExceeded, ConfigurationError
from inference.limits import BudgetLimits, Ceiling
from inference.request import Caller

ANN = Caller("judge/1", "judge", "run")
BOB = Caller("judge/2", "judge", "run")
EVE = Caller("voter/1", "voter", "run")


def test_a_call_is_held_then_charged() -> None:
    budget = Budget(BudgetLimits(run=Ceiling(tokens=100)))
    call = budget.reserve(ANN, 60, 0.5)
    assert budget.spent().reserved_tokens == 60
    with pytest.raises(
        BudgetExceeded, match="the run may spend 100 tokens: 0 tokens are spent, 60 tokens held"
    ):
        budget.reserve(BOB, 41, None)
    call.settle(10, 0.1)
    assert (budget.spent().tokens, budget.spent().usd, budget.spent().reserved_tokens) == (10, 0.1, 0)
    budget.reserve(BOB, 90, None)


def test_each_ceiling_holds_by_itself() -> None:
    budget = Budget(
        BudgetLimits(
            run=Ceiling(tokens=1000),
            each_role=Ceiling(tokens=500),
            roles={"judge": Ceiling(tokens=300)},
            each_agent=Ceiling(tokens=200),
            agents={"judge/2": Ceiling(tokens=50)},
        )
    )
    with pytest.raises(BudgetExceeded, match="the agent judge/1 may spend 200"):
        budget.reserve(ANN, 201, None)
    with pytest.raises(BudgetExceeded, match="the agent judge/2 may spend 50"):
        budget.reserve(BOB, 51, None)
    budget.reserve(ANN, 200, None)
    budget.reserve(BOB, 50, None)
    with pytest.raises(BudgetExceeded, match="the role judge may spend 300"):
        budget.reserve(Caller("judge/3", "judge"), 51, None)
    budget.reserve(EVE, 200, None)
    assert budget.spent(role="judge").reserved_tokens == 250
    assert budget.spent(agent="voter/1").reserved_tokens == 200
    assert budget.spent(agent="nobody").tokens == 0


def test_a_refused_call_holds_nothing() -> None:
    budget = Budget(BudgetLimits(each_agent=Ceiling(tokens=10)))
    with pytest.raises(BudgetExceeded):
        budget.reserve(ANN, 11, 1.0)
    assert (budget.spent().reserved_tokens, budget.spent().reserved_usd) == (0, 0)


def test_what_did_not_happen_is_given_back_and_what_may_have_is_charged() -> None:
    budget = Budget(BudgetLimits())
    budget.reserve(ANN, 10, 1.0).release()
    assert budget.spent().tokens == 0
    budget.reserve(ANN, 10, 1.0).forfeit()
    assert (budget.spent().tokens, budget.spent().usd) == (10, 1.0)
    budget.reserve(ANN, 10, 1.0).settle(3, None)
    assert (budget.spent().tokens, budget.spent().usd) == (13, 2.0)


def test_a_reservation_ends_once() -> None:
    call = Budget(BudgetLimits()).reserve(ANN, 10, None)
    call.settle(1, None)
    with pytest.raises(AssertionError, match="ends once"):
        call.release()


def test_a_price_that_is_not_known_is_not_zero() -> None:
    budget = Budget(BudgetLimits(each_role=Ceiling(usd=5.0)))
    with pytest.raises(ConfigurationError, match=r"price is not known.*FREE"):
        budget.reserve(ANN, 10, None)
    budget.reserve(ANN, 10, 0.0)
    budget.reserve(Caller(), 10, None)  # the run has no ceiling


def test_money_neither_drifts_nor_loses() -> None:
    budget = Budget(BudgetLimits(run=Ceiling(usd=1.0)))
    for _ in range(10):
        budget.reserve(ANN, 1, 0.1).settle(1, 0.1)
    assert budget.spent().usd == 1.0
    with pytest.raises(BudgetExceeded, match="1 USD are spent"):
        budget.reserve(ANN, 1, 1e-9)
    tiny = Budget(BudgetLimits())
    for _ in range(1000):
        tiny.reserve(ANN, 1, 1e-12).settle(1, 1e-12)
    assert tiny.spent().usd >= 1000e-12  # rounded up, never away


@given(st.integers(0, 10**6), st.integers(100, 5000))
def test_whatever_happens_the_ceiling_holds_but_for_calls_in_flight(seed: int, ceiling: int) -> None:
    """Calls use up to a fifth more than they reserved (an estimated prompt); the overshoot is theirs alone."""
    rng = Random(seed)
    budget = Budget(BudgetLimits(run=Ceiling(tokens=ceiling)))
    flying: list[tuple[Reservation, int]] = []
    above = 0
    for _ in range(200):
        if flying and rng.random() < 0.5:
            call, tokens = flying.pop(rng.randrange(len(flying)))
            end = rng.choice(["settle", "more", "release", "forfeit"])
            if end == "settle":
                call.settle(rng.randrange(tokens + 1), None)
            elif end == "more":
                above += tokens // 5
                call.settle(tokens + tokens // 5, None)
            else:
                getattr(call, end)()
        else:
            tokens = rng.randrange(1, 300)
            spent = budget.spent()
            if spent.tokens + spent.reserved_tokens + tokens <= ceiling:
                flying.append((budget.reserve(ANN, tokens, None), tokens))
            else:
                with pytest.raises(BudgetExceeded):
                    budget.reserve(ANN, tokens, None)
        spent = budget.spent()
        assert spent.reserved_tokens == sum(tokens for _, tokens in flying), f"seed {seed}"
        assert spent.tokens + spent.reserved_tokens <= ceiling + above, f"seed {seed}"
