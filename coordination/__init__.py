"""How agents agree and share out work: protocols, votes, markets. Here, the contract of a protocol."""

from coordination.checker import Checker, SafetyViolation
from coordination.protocol import (
    Costs,
    Decided,
    Effects,
    Event,
    Protocol,
    ProtocolKind,
    Setting,
    Wire,
)
from coordination.quorum import Flexible, Joint, QuorumSystem, Threshold, VoteResult, Weighted
from coordination.signature import Certificate, Ed25519Scheme, Scheme, Signature, TokenScheme

__all__ = [
    "Certificate",
    "Checker",
    "Costs",
    "Decided",
    "Ed25519Scheme",
    "Effects",
    "Event",
    "Flexible",
    "Joint",
    "Protocol",
    "ProtocolKind",
    "QuorumSystem",
    "SafetyViolation",
    "Scheme",
    "Setting",
    "Signature",
    "Threshold",
    "TokenScheme",
    "VoteResult",
    "Weighted",
    "Wire",
]
