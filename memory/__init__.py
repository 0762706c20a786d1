"""What a swarm remembers: the store, the vector index, ranking, the graph and the memory actor.

Over Ray actors: `memory.ray_memory`. It is imported from there, since Ray takes half a second.
"""

from memory.audit import Findings
from memory.consolidation import ConsolidationSettings
from memory.episode import Window, with_neighbours
from memory.errors import (
    Behind,
    Conflict,
    EmbedderMismatch,
    InvalidItem,
    InvalidScope,
    MemoryFault,
    Moved,
    NotAllowed,
    NotBranchable,
    NotReplicated,
    Overloaded,
    SnapshotCorrupt,
    StoreClosed,
    StoreCorrupt,
    StoreFull,
    StoreLocked,
    UnknownItem,
    UnknownScope,
    WriteUncertain,
)
from memory.extraction import Extracted, Extraction, extract_by_model, extract_facts, extract_with
from memory.fact import Fact, Settlement, SettlingRules, fact_attributes, fact_of
from memory.item import Draft, Item, Kind
from memory.knowledge import KnowledgeGraph
from memory.memory import Explanation, Memory
from memory.procedure import Procedure, Step
from memory.ranking import Ranked, RankedSession, RankingSettings, Weights
from memory.scope import Scope
from memory.seat import Door, LocalDoor, Seat
from memory.settings import MemorySettings
from memory.shard import Recovery
from memory.subject import Subjects
from memory.thesaurus import ThesaurusSettings
from memory.transaction import Receipt
from memory.upkeep import Upkeep
from memory.view import Ask

__all__ = [
    "Ask",
    "Behind",
    "Conflict",
    "ConsolidationSettings",
    "Door",
    "Draft",
    "EmbedderMismatch",
    "Explanation",
    "Extracted",
    "Extraction",
    "Fact",
    "Findings",
    "InvalidItem",
    "InvalidScope",
    "Item",
    "Kind",
    "KnowledgeGraph",
    "LocalDoor",
    "Memory",
    "MemoryFault",
    "MemorySettings",
    "Moved",
    "NotAllowed",
    "NotBranchable",
    "NotReplicated",
    "Overloaded",
    "Procedure",
    "Ranked",
    "RankedSession",
    "RankingSettings",
    "Receipt",
    "Recovery",
    "Scope",
    "Seat",
    "Settlement",
    "SettlingRules",
    "SnapshotCorrupt",
    "Step",
    "StoreClosed",
    "StoreCorrupt",
    "StoreFull",
    "StoreLocked",
    "Subjects",
    "ThesaurusSettings",
    "UnknownItem",
    "UnknownScope",
    "Upkeep",
    "Weights",
    "Window",
    "WriteUncertain",
    "extract_by_model",
    "extract_facts",
    "extract_with",
    "fact_attributes",
    "fact_of",
    "with_neighbours",
]
