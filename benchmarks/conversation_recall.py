"""Recall of the evidence on long synthetic conversations: `memory/ranking.py` as it ships, without a language model.

Recall at 10 is the share of a question's evidence among the first ten items, averaged over the questions of a
conversation; for sessions the share of the evidence's sessions among the first ten. The unit is the conversation: the
intervals are over conversations. Weights were fitted to the development script alone. The held-out one shares no
template with it, but one author wrote both and looked at both: conversations of people are the test that counts. Beside
the ranking stand its parts alone, and the whole without the thesaurus, so that what each is worth is seen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Annotated

import numpy as np
import typer
from rich.table import Table

from benchmarks.conversations import KINDS, Conversation, Split, conversation
from benchmarks.outcome import AsJson, Outcome, rounded, tell
from cluster.statistics import estimate
from inference.embedder import Embedder
from inference.hashing_embedder import HashingEmbedder
from memory.item import Item, Kind
from memory.ranking import Query, Ranker, RankingSettings, Weights
from memory.scope import Scope

app = typer.Typer(add_completion=False)
SPLITS: tuple[Split, ...] = ("development", "heldout")
K = 10
_SCOPE = Scope("benchmark")


def only(**weights: float) -> RankingSettings:
    """Settings in which the named parts count and no other."""
    return RankingSettings(weights=Weights(**dict.fromkeys(_PARTS, 0.0) | weights))


_PARTS = [each.name for each in fields(Weights)]
VARIANTS: dict[str, RankingSettings] = {
    "ranking": RankingSettings(),
    "no thesaurus": replace(RankingSettings(), thesaurus=None),
    "BM25 alone": replace(only(lexical=1.0), thesaurus=None),
    "n-grams alone": replace(only(dense=1.0), thesaurus=None, dense_before=0.0, dense_after=0.0),
}
"""Settings of the ranking that are compared."""


def ranker_of(talk: Conversation, embedder: Embedder, settings: RankingSettings) -> Ranker:
    """A ranker that holds a conversation; an item's id is its place."""
    ranker = Ranker(embedder.identity.dimension, settings)
    vectors = embedder.embed([turn.text for turn in talk.turns])
    for place, (turn, vector) in enumerate(zip(talk.turns, vectors, strict=True)):
        item = Item(
            id=place,
            scope=_SCOPE,
            kind=Kind.EPISODE,
            text=turn.text,
            session=turn.session,
            turn=turn.turn,
            speaker=turn.speaker,
            valid_from=turn.time,
        )
        ranker.add(item, vector)
    return ranker


def recall(talk: Conversation, embedder: Embedder, settings: RankingSettings) -> tuple[float, float]:
    """Recall at 10 of turns and of sessions, each the mean over the questions, in percent."""
    ranker = ranker_of(talk, embedder, settings)
    turns, sessions = [], []
    vectors = embedder.embed([question.text for question in talk.questions])
    for question, vector in zip(talk.questions, vectors, strict=True):
        query = Query(question.text, vector, k=K)
        found = {ranked.item.id for ranked in ranker.rank(query)}
        found_sessions = {ranked.session for ranked in ranker.rank_sessions(query)}
        turns.append(np.mean([place in found for place in question.evidence]))
        sessions.append(np.mean([talk.turns[place].session in found_sessions for place in question.evidence]))
    return 100 * float(np.mean(turns)), 100 * float(np.mean(sessions))


def measure(conversations: int, kinds: Sequence[str] = KINDS) -> Outcome:
    """Runs the benchmark on that many conversations of each kind and split."""
    figures: dict[str, float] = {}
    tables = []
    embedder = HashingEmbedder()
    for split in SPLITS:
        table = Table("ranking", *kinds, title=f"{split}: recall at {K} of turns / sessions, %")
        talks = {
            kind: [conversation(split, kind, seed) for seed in range(1, conversations + 1)] for kind in kinds
        }
        for name, settings in VARIANTS.items():
            found = {kind: [recall(talk, embedder, settings) for talk in talks[kind]] for kind in kinds}
            table.add_row(name, *(_cell(found[kind]) for kind in kinds))
            if name == "ranking":
                figures |= _figures(split, found)
        tables.append(table)
    notes = [
        f"{conversations} conversations of each kind; intervals at 95% over conversations.",
        "The kind paraphrase names nothing as it was said: word matching finds little there by design.",
    ]
    return Outcome("conversations", figures, notes, tables)


def _figures(split: str, found: Mapping[str, Sequence[tuple[float, float]]]) -> dict[str, float]:
    figures = {}
    for kind, pairs in found.items():
        figures[f"{split}_{kind}_recall_at_10"] = rounded(float(np.mean([turns for turns, _ in pairs])))
        figures[f"{split}_{kind}_session_recall_at_10"] = rounded(
            float(np.mean([sessions for _, sessions in pairs]))
        )
    return figures


def _cell(pairs: Sequence[tuple[float, float]]) -> str:
    turns = estimate([turns for turns, _ in pairs])
    interval = "" if turns.low is None or turns.high is None else f" [{turns.low:.0f}, {turns.high:.0f}]"
    return f"{turns.mean:.1f}{interval} / {np.mean([sessions for _, sessions in pairs]):.1f}"


@app.command()
def conversations(
    *,
    conversations: Annotated[int, typer.Option(min=1, max=100, help="Of each kind and split.")] = 4,
    as_json: AsJson = False,
) -> None:
    """Recall at 10 of the evidence on long conversations, on templates that were and were not tuned on."""
    tell(measure(conversations), as_json=as_json)


if __name__ == "__main__":
    app()
