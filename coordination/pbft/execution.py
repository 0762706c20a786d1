"""Executing decided slots in PBFT, and the checkpoints by which their votes are forgotten.

Rules (Castro and Liskov 1999, section 4.3):
* Slots are executed in order, each with the commit certificate that decided it.
* Every `checkpoint` slots a replica signs its history. A quorum of such words is a stable checkpoint: the low watermark
  moves there, and votes below it are forgotten.
* A replica that lags takes slots from one peer, certificate by certificate, or a summary that f+1 have signed.
* A replica's word for a checkpoint or a state leaves only when the slots it stands for are durable.
"""

from coordination.decision_log import Entry, Past, StateVote, state_statement, vouches
from coordination.pbft.message import (
    Accepted,
    Checkpoint,
    Committing,
    Compacted,
    Entered,
    Left,
    Life,
    Stable,
    checkpoint_statement,
    commit_statement,
)
from coordination.pbft.state import State
from coordination.protocol import NEVER, Compact, Installed
from coordination.signature import certificate, digest

KEPT = 3
"""How many checkpoint words of one replica are kept: it can be no further ahead of the others than a window."""


NEGLECT = 4
"""A request passed over for so many checkpoints is neglected."""


class Execution:
    """The executed part of a replica."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._words: dict[int, dict[int, Checkpoint]] = {member: {} for member in state.members}

    def append(self, entry: Entry, found: bytes) -> None:
        """Executes the next slot."""
        state = self._state
        commands = state.decisions.append(entry, found)
        state.out.persist(entry)
        state.out.decide(entry.slot, commands, entry)
        state.pool.remove(entry.batch)
        state.attempts = 0
        if state.active:
            state.deadline = NEVER
        if entry.slot % state.options.checkpoint == 0:
            self._checkpoint(entry.slot)
            before = entry.slot - NEGLECT * state.options.checkpoint
            state.neglected = state.active and state.pool.neglected(before)

    # --- Checkpoints ------------------------------------------------------------------------------------------

    def _checkpoint(self, slot: int) -> None:
        state = self._state
        history = state.decisions.history
        word = state.scheme.sign(state.id, checkpoint_statement(slot, history))
        message = Checkpoint(slot, history, word)
        state.out.broadcast(message, state.out.token)
        state.out.hold(state.out.token, self._count, message)

    def on_checkpoint(self, source: int, message: Checkpoint) -> None:
        """Another replica's checkpoint."""
        state = self._state
        word = message.signature
        if message.slot <= state.stable.slot or message.slot % state.options.checkpoint:
            return
        if state.is_other(word) and state.scheme.verify(
            checkpoint_statement(message.slot, message.history), word
        ):
            self._count(message)

    def _count(self, message: Checkpoint) -> None:
        state = self._state
        words = self._words[message.signature.signer]
        known = words.setdefault(message.slot, message)
        if known.history != message.history:
            state.out.accuse(message.signature.signer, known, message)
            return
        while len(words) > KEPT:
            del words[min(words)]
        agreeing = [
            found.signature
            for by in self._words.values()
            if (found := by.get(message.slot)) is not None and found.history == message.history
        ]
        if len(agreeing) > state.f:
            state.heard = max(state.heard, message.slot)
        if len(agreeing) >= state.needed and message.slot > state.stable.slot:
            proof = certificate(state.scheme, agreeing)
            self.stabilise(Stable(message.slot, message.history, proof))

    def on_stable(self, source: int, message: Stable) -> None:
        """A stable checkpoint that others have reached."""
        if message.slot > self._state.stable.slot and self._state.judge.stable(message):
            self.stabilise(message)

    def stabilise(self, stable: Stable) -> None:
        """Moves the low watermark to a proved checkpoint."""
        state = self._state
        state.stable = stable
        state.heard = max(state.heard, stable.slot)
        state.out.persist(stable)
        state.log.advance(stable.slot)
        for words in self._words.values():
            for slot in [slot for slot in words if slot <= stable.slot]:
                del words[slot]
        state.out.trace("stable", slot=stable.slot)

    # --- The application's state ------------------------------------------------------------------------------

    def on_compact(self, event: Compact) -> None:
        """The application's state at a slot."""
        state = self._state
        vote = state.decisions.compact(event.slot, event.state)
        if vote is None:
            return
        word = state.scheme.sign(state.id, state_statement(vote.slot, vote.digest))
        vote = StateVote(vote.slot, vote.digest, word)
        state.out.broadcast(vote, state.out.token)
        state.out.hold(state.out.token, self._count_state, vote)

    def on_state_vote(self, source: int, message: StateVote) -> None:
        """Another replica's word for a state."""
        word = message.signature
        if word is None or not self._state.is_other(word) or message.slot <= self._state.decisions.base:
            return
        if self._state.scheme.verify(state_statement(message.slot, message.digest), word):
            self._count_state(message)

    def _count_state(self, vote: StateVote) -> None:
        state = self._state
        assert vote.signature is not None, "only signed votes are counted"
        if state.decisions.vote(vote.signature.signer, vote, state.f + 1, state.scheme):
            state.saving = True

    # --- Keeping up -------------------------------------------------------------------------------------------

    def on_past(self, source: int, message: Past) -> bool:
        """Slots that this replica lacks. Whether there was anything new in them."""
        state = self._state
        decisions = state.decisions
        before = decisions.slot
        summary = message.summary
        if summary is not None and summary.slot > decisions.slot:
            if not vouches(state.scheme, message, state.known, state.f + 1):
                return False
            decisions.install(summary, message.certificate)
            state.out.effects.installed = Installed(summary.slot, summary.state)
            state.pool.prune()
            state.attempts = 0
            state.saving = True
        for entry in message.entries:
            if entry.slot != decisions.slot + 1 or entry.certificate is None:
                continue
            found = digest(entry.batch)
            if not state.judge.certified(commit_statement(entry.view, entry.slot, found), entry.certificate):
                break
            self.append(entry, found)
        return decisions.slot > before

    def compacted(self, life: int) -> Compacted:
        """All that must survive, in one record."""
        state = self._state
        records: list[Life | Left | Entered | Stable | Accepted | Committing | Entry] = [Life(life)]
        if state.new_view is not None:
            records.append(Entered(state.new_view))
        if not state.active:
            records.append(Left(state.view))
        records.append(state.stable)
        records.extend(state.decisions.entries)
        for _, slot in sorted(state.log.slots.items()):
            if slot.prepared is not None:
                records.append(Committing(slot.prepared))
            if slot.voted and slot.batch is not None and slot.signature is not None:
                records.append(Accepted(state.view, slot.number, slot.batch, slot.signature))
            elif slot.prepared is not None and slot.prepared.digest in slot.known:
                batch, word = slot.known[slot.prepared.digest], slot.prepared.certificate.signatures[0]
                records.append(Accepted(slot.prepared.view, slot.number, batch, word))
        summary, proof = state.decisions.summary, state.decisions.proof
        assert summary is not None, "compacts only on a summary"
        assert proof is not None, "a summary has a proof"
        return Compacted(summary, proof, tuple(records))
