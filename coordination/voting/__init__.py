"""Agreement among answers: ballots, rules that count them, polls, and deliberations of several rounds."""

from coordination.voting.aggregate import Aggregator
from coordination.voting.ballot import (
    Abstention,
    Approval,
    Ballot,
    Choice,
    Number,
    Ranking,
    Scores,
    Vector,
    Vote,
    ballot_data,
    ballot_from,
    ballots_of,
    ranking,
)
from coordination.voting.condorcet import condorcet_winner, copeland, minimax, schulze
from coordination.voting.confidence import (
    Calibration,
    LogOdds,
    by_confidence,
    calibration_error,
    calibration_of,
    log_odds,
)
from coordination.voting.debate import Debate
from coordination.voting.deliberation import Deliberated, Deliberation, Method, PlainVote, deliberated_data
from coordination.voting.delphi import Delphi
from coordination.voting.election import Counting, Election, Survey
from coordination.voting.electorate import Electorate
from coordination.voting.estimate import Estimate, Estimator, estimate_of, mean, median, trimmed_mean
from coordination.voting.geometric_median import geometric_median
from coordination.voting.judging import Judging
from coordination.voting.kemeny import KEMENY_LIMIT, kemeny
from coordination.voting.krum import krum, multi_krum
from coordination.voting.moderator import Moderator
from coordination.voting.panellist import ModelPanellist, Panellist
from coordination.voting.plurality import majority, plurality, supermajority, unanimity
from coordination.voting.poll import Poll, Receipt
from coordination.voting.ranked_pairs import ranked_pairs
from coordination.voting.reputation import Reputation
from coordination.voting.rule import RULES, RuleKind, rule_named
from coordination.voting.runoff import instant_runoff
from coordination.voting.scoring import approval, borda, score
from coordination.voting.tally import Rule, Tally, TieBreak, Turnout, differences, tally_of
from coordination.voting.transcript import Answer, Expired, Opinion, Question, Transcript

__all__ = [
    "KEMENY_LIMIT",
    "RULES",
    "Abstention",
    "Aggregator",
    "Answer",
    "Approval",
    "Ballot",
    "Calibration",
    "Choice",
    "Counting",
    "Debate",
    "Deliberated",
    "Deliberation",
    "Delphi",
    "Election",
    "Electorate",
    "Estimate",
    "Estimator",
    "Expired",
    "Judging",
    "LogOdds",
    "Method",
    "ModelPanellist",
    "Moderator",
    "Number",
    "Opinion",
    "Panellist",
    "PlainVote",
    "Poll",
    "Question",
    "Ranking",
    "Receipt",
    "Reputation",
    "Rule",
    "RuleKind",
    "Scores",
    "Survey",
    "Tally",
    "TieBreak",
    "Transcript",
    "Turnout",
    "Vector",
    "Vote",
    "approval",
    "ballot_data",
    "ballot_from",
    "ballots_of",
    "borda",
    "by_confidence",
    "calibration_error",
    "calibration_of",
    "condorcet_winner",
    "copeland",
    "deliberated_data",
    "differences",
    "estimate_of",
    "geometric_median",
    "instant_runoff",
    "kemeny",
    "krum",
    "log_odds",
    "majority",
    "mean",
    "median",
    "minimax",
    "multi_krum",
    "plurality",
    "ranked_pairs",
    "ranking",
    "rule_named",
    "schulze",
    "score",
    "supermajority",
    "tally_of",
    "trimmed_mean",
    "unanimity",
]
