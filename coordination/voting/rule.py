"""The rules by name, each with what it promises.

A promise is a theorem of the social choice literature about complete rankings. For approval and score it is about their
own ballots, read as rankings of two and more tiers: voters who approve by a threshold of their own can still defeat the
candidate whom most prefer. Tests hold each rule to its promises, and show a counterexample for each that it does not
make. Definitions:

* Condorcet: who beats every other candidate in pairs wins alone.
* Majority: whom more than half put first, alone, wins alone.
* Monotone: who wins and is raised on some ballots, all else unchanged, still wins.
* Clone-proof: whether a candidate outside wins does not depend on how many clones (candidates that stand next to one
  another on all ballots) another has (Tideman 1987).
* Reversal: of two candidates or more, who wins alone does not win if all ballots are reversed (Saari 1994).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from actors.errors import ConfigurationError
from coordination.voting.ballot import Approval, Choice, Ranking, Scores, Vote
from coordination.voting.condorcet import copeland, minimax, schulze
from coordination.voting.kemeny import kemeny
from coordination.voting.plurality import majority, plurality, supermajority, unanimity
from coordination.voting.ranked_pairs import ranked_pairs
from coordination.voting.runoff import instant_runoff
from coordination.voting.scoring import approval, borda, score
from coordination.voting.tally import Rule

RANKINGS: tuple[type[Vote], ...] = (Choice, Approval, Scores, Ranking)
"""The votes that can be read as rankings."""


@dataclass(frozen=True)
class RuleKind:
    """A rule as the laboratory lists it."""

    name: str
    rule: Rule
    condorcet: bool
    majority: bool
    monotone: bool
    clone_proof: bool
    reversal: bool
    cost: str
    """For n ballots and m candidates."""
    takes: tuple[type[Vote], ...] = RANKINGS
    decisive: bool = True
    """Whether somebody wins whenever somebody votes."""


_KINDS = (
    RuleKind("plurality", plurality, False, True, True, False, False, "n + m"),
    RuleKind("majority", majority, False, True, True, False, True, "n + m", decisive=False),
    RuleKind("supermajority", supermajority(), False, False, True, False, True, "n + m", decisive=False),
    RuleKind("unanimity", unanimity, False, False, True, False, True, "n + m", decisive=False),
    RuleKind("approval", approval, True, True, True, True, True, "n m", takes=(Approval, Choice)),
    RuleKind("score", score, False, False, True, True, True, "n m", takes=(Scores,)),
    RuleKind("borda", borda, False, False, True, False, True, "n m"),
    RuleKind("copeland", copeland, True, True, True, False, True, "n m^2"),
    RuleKind("minimax", minimax, True, True, True, False, False, "n m^2"),
    RuleKind("schulze", schulze, True, True, True, True, True, "n m^2 + m^3"),
    RuleKind("ranked_pairs", ranked_pairs, True, True, True, True, True, "n m^2 + m^3"),
    RuleKind("instant_runoff", instant_runoff, False, True, False, True, False, "n m^2"),
    RuleKind("kemeny", kemeny, True, True, True, False, True, "n m^2 + m 2^m"),
)
RULES: Mapping[str, RuleKind] = {kind.name: kind for kind in _KINDS}
"""All rules for candidates, by name."""


def rule_named(name: str) -> Rule:
    """The rule with this name. Raises `ConfigurationError` naming those that there are."""
    if name not in RULES:
        raise ConfigurationError(f"there is no rule {name!r}. There are: {', '.join(RULES)}.")
    return RULES[name].rule


def votes_taken(rule: Rule) -> tuple[type[Vote], ...]:
    """The kinds of vote that a rule counts; for one's own rule, all that name candidates."""
    return next((kind.takes for kind in _KINDS if kind.rule is rule), RANKINGS)
