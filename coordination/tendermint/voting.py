"""Tendermint's algorithm 1: proposals, prevotes, precommits, locks and rounds of one height after another.

Rules: see `replica`; comments name the paper's lines (Buchman, Kwon, Milosevic 2018, algorithm 1).
"""

from collections.abc import Callable
from typing import Any

from coordination.decision_log import Entry
from coordination.signature import Signature, digest
from coordination.tendermint.height import Height, Round, Step
from coordination.tendermint.message import (
    NIL,
    PRECOMMIT,
    PREVOTE,
    Polka,
    Precommit,
    Prevote,
    Proposal,
    proposal_statement,
    vote_statement,
)
from coordination.tendermint.state import State

PROPOSAL = "proposal"


class Voting:
    """The part of a replica that agrees."""

    def __init__(self, state: State, decide: Callable[[Entry, bytes], None]) -> None:
        self._state = state
        self._out = state.out
        self._scheme = state.scheme
        self._decide = decide

    # --- Rounds -----------------------------------------------------------------------------------------------

    def enter(self, number: int) -> None:
        """Lines 11 to 21: begins a later round of this height."""
        state = self._state
        state.height.enter(number)
        state.height.awake = True
        state.timeouts.clear()
        state.out.trace("round", height=state.height.number, round=number)
        self.begin()
        self.review(number)

    def begin(self) -> None:
        """The proposer proposes if it has something, or has to; the others wait for it, if anybody wants something."""
        state, height = self._state, self._state.height
        if height.step is not Step.PROPOSE:
            return
        if state.pool.waiting:
            height.awake = True
        if not height.awake:
            return
        if state.proposer(height.number, height.round) == state.id:
            self._propose()
        state.start_timeout(Step.PROPOSE)

    def _propose(self) -> None:
        state, height = self._state, self._state.height
        number = height.round
        if (number, PROPOSAL) in height.said:
            return
        batch = height.valid if height.valid_round >= 0 else state.pool.first()
        found = digest(batch)
        statement = proposal_statement(height.number, number, found, height.valid_round)
        word = self._scheme.sign(state.id, statement)
        proposal = Proposal(height.number, number, batch, height.valid_round, word, height.polka)
        height.said[number, PROPOSAL] = proposal
        token = self._out.persist(proposal)
        self._out.broadcast(proposal, token)
        height.accepted.add(found)
        self._out.hold(token, self._take, proposal, found)

    def _take(self, proposal: Proposal, found: bytes) -> None:
        """A checked proposal, or the replica's own once it is durable."""
        height = self._state.height
        if proposal.height != height.number or not height.keeps(proposal.round):
            return
        place = height.at(proposal.round)
        if place.proposal is None:
            place.proposal, place.digest = proposal, found
            self.review(proposal.round)

    def on_proposal(self, source: int, message: Proposal) -> None:
        """Another replica's proposal, from itself or passed on."""
        state, height = self._state, self._state.height
        word = message.signature
        if word.signer != state.proposer(message.height, message.round) or not self._is_present(
            source, message
        ):
            return
        place = height.at(message.round) if height.keeps(message.round) else None
        found = digest(message.batch)
        if place is not None and place.proposal is not None:
            known = place.proposal
            if (place.digest, known.valid_round) == (found, message.valid_round):
                return
        statement = proposal_statement(message.height, message.round, found, message.valid_round)
        if not self._scheme.verify(statement, word):
            return
        if place is not None and place.proposal is not None:
            self._out.accuse(word.signer, place.proposal, message)
            return
        if message.valid_round >= 0 and not self._is_justified(message, found):
            return
        self._note(word.signer, message.round)
        if message.valid_round >= 0 or self._is_valid(message, found):
            height.accepted.add(found)
        if height.keeps(message.round):
            self._take(message, found)

    def _is_justified(self, message: Proposal, found: bytes) -> bool:
        """Whether a proposal's polka is one, of an earlier round: then a quorum has found its batch valid."""
        statement = vote_statement(PREVOTE, message.height, message.valid_round, found)
        return message.valid_round < message.round and self._state.certified(statement, message.polka)

    def _is_valid(self, message: Proposal, found: bytes) -> bool:
        """Whether this replica finds a batch valid that is proposed for the first time."""
        state, height = self._state, self._state.height
        if found in height.accepted:
            return True
        size = sum([len(request.commands) for request in message.batch])
        proposer = message.signature.signer
        return size <= state.batch and all(state.pool.vouched(one, proposer) for one in message.batch)

    # --- Votes ------------------------------------------------------------------------------------------------

    def on_vote(self, source: int, message: Prevote | Precommit) -> None:
        """Another replica's vote."""
        state, height = self._state, self._state.height
        if not self._is_present(source, message) or not state.is_other(message.signature):
            return
        phase = PREVOTE if type(message) is Prevote else PRECOMMIT
        place = height.rounds.get(message.round)
        if place is not None:
            votes = place.prevotes if phase is PREVOTE else place.precommits
            if votes.has(message.signature.signer, message.digest):
                return
        statement = vote_statement(phase, message.height, message.round, message.digest)
        if not self._scheme.verify(statement, message.signature):
            return
        self._note(message.signature.signer, message.round)
        self._count(phase, message.height, message.round, message.digest, message.signature)

    def _count(self, phase: str, number: int, at: int, found: bytes, word: Signature) -> None:
        height = self._state.height
        if number != height.number or not height.keeps(at):
            return
        place = height.at(at)
        votes, kind = (place.prevotes, Prevote) if phase is PREVOTE else (place.precommits, Precommit)
        clash = votes.add(found, word)
        if clash is not None:
            kind_of: Any = kind
            self._out.accuse(word.signer, kind_of(number, at, *clash), kind_of(number, at, found, word))
            return
        self.review(at)

    def _is_present(self, source: int, message: Proposal | Prevote | Precommit) -> bool:
        """Whether a message is of this height. One of a later height is kept for later."""
        height = self._state.height
        if message.height == height.number:
            return True
        if message.height > height.number:
            self._state.early.put(source, message)
        return False

    def _note(self, signer: int, number: int) -> None:
        """Line 55: when f+1 replicas are in a later round, this one follows; and a message wakes it up."""
        state, height = self._state, self._state.height
        height.latest[signer] = max(number, height.latest.get(signer, 0))
        if not height.awake:
            height.awake = True
            self.begin()
        if number > height.round:
            ahead = height.ahead(state.f + 1)
            if ahead > height.round:
                self.enter(ahead)

    def _vote(self, phase: str, found: bytes) -> None:
        state, height = self._state, self._state.height
        number = height.round
        height.step = Step.PREVOTE if phase is PREVOTE else Step.PRECOMMIT
        if (number, phase) in height.said:
            return
        word = self._scheme.sign(state.id, vote_statement(phase, height.number, number, found))
        kind = Prevote if phase is PREVOTE else Precommit
        message = kind(height.number, number, found, word)
        height.said[number, phase] = message
        token = self._out.persist(message)
        self._out.broadcast(message, token)
        self._out.hold(token, self._count, phase, height.number, number, found, word)

    # --- What follows -----------------------------------------------------------------------------------------

    def review(self, number: int) -> None:
        """Carries out what the messages of a round now call for."""
        height = self._state.height
        place = height.rounds.get(number)
        if place is None:
            return
        if number == height.round:
            if height.step is Step.PROPOSE and place.proposal is not None:
                self._judge(place, place.proposal)
            if height.step is not Step.PROPOSE:
                self._weigh(place)
        self._finish(place, number)

    def _judge(self, place: Round, proposal: Proposal) -> None:
        """Lines 22 to 33: the prevote for a proposal."""
        height = self._state.height
        is_free = height.locked_round <= proposal.valid_round or height.locked == place.digest
        self._vote(PREVOTE, place.digest if is_free and place.digest in height.accepted else NIL)

    def _weigh(self, place: Round) -> None:
        """Lines 34 to 46: what the prevotes of this round call for."""
        state, height = self._state, self._state.height
        needed = state.needed
        if len(place.prevotes) < needed:
            return
        if height.step is Step.PREVOTE:
            state.start_timeout(Step.PREVOTE)
        proposal, found = place.proposal, place.digest
        if proposal is not None and not place.seen_polka and place.prevotes.count(found) >= needed:
            place.seen_polka = True
            proof = place.prevotes.certificate(self._scheme, found)
            height.valid_round, height.valid, height.polka = height.round, proposal.batch, proof
            self._out.persist(Polka(height.number, height.round, proposal.batch, proof))
            if height.step is Step.PREVOTE:
                height.locked_round, height.locked = height.round, found
                self._vote(PRECOMMIT, found)
        if height.step is Step.PREVOTE and place.prevotes.count(NIL) >= needed:
            self._vote(PRECOMMIT, NIL)

    def _finish(self, place: Round, number: int) -> None:
        """Lines 47 to 54: what the precommits of a round call for."""
        state, height = self._state, self._state.height
        if len(place.precommits) < state.needed:
            return
        found = place.digest
        if place.proposal is not None and place.precommits.count(found) >= state.needed:
            proof = place.precommits.certificate(self._scheme, found)
            self._decide(Entry(height.number, number, place.proposal.batch, proof), found)
        elif number == height.round:
            state.start_timeout(Step.PRECOMMIT)

    def expire(self, step: Step) -> None:
        """Lines 57 to 67: a time-out of this round."""
        height = self._state.height
        if step is Step.PRECOMMIT:
            self.enter(height.round + 1)
            return
        if step is height.step:
            self._vote(PREVOTE if step is Step.PROPOSE else PRECOMMIT, NIL)
            self.review(height.round)

    # --- Restart ----------------------------------------------------------------------------------------------

    def remember(self, record: Polka | Proposal | Prevote | Precommit) -> None:
        """Takes one record of this height from an earlier life."""
        height = self._state.height
        if record.height != height.number:
            return
        if isinstance(record, Polka):
            height.valid_round, height.valid, height.polka = record.round, record.batch, record.certificate
            height.accepted.add(digest(record.batch))
            return
        phase = {Proposal: PROPOSAL, Prevote: PREVOTE, Precommit: PRECOMMIT}[type(record)]
        height.said[record.round, phase] = record
        if record.round > height.round:
            height.enter(record.round)
        if isinstance(record, Proposal):
            height.accepted.add(digest(record.batch))
            return
        height.step = Step.PREVOTE if phase is PREVOTE else Step.PRECOMMIT
        if phase is PRECOMMIT and record.digest != NIL:
            height.locked_round, height.locked = record.round, record.digest

    def resume(self) -> None:
        """After a restart: its own durable proposals and votes count again, and it goes on where it was.

        Those of the last rounds are said again: a crash may have come between the disk and the network.
        """
        height = self._state.height
        for (number, phase), message in height.said.items():
            if number >= height.round - 1:
                self._out.broadcast(message)
            place = height.at(number)
            if isinstance(message, Proposal):
                place.proposal, place.digest = message, digest(message.batch)
            else:
                votes = place.prevotes if phase is PREVOTE else place.precommits
                votes.add(message.digest, message.signature)
        height.awake = bool(height.said)
        self.begin()


def records_of(height: Height) -> list[Polka | Proposal | Prevote | Precommit]:
    """What must survive of a height."""
    records: list[Polka | Proposal | Prevote | Precommit] = []
    if height.polka is not None:
        records.append(Polka(height.number, height.valid_round, height.valid, height.polka))
    order = {PROPOSAL: 0, PREVOTE: 1, PRECOMMIT: 2}
    records.extend(height.said[key] for key in sorted(height.said, key=lambda key: (key[0], order[key[1]])))
    return records
