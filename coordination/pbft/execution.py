"""Executing decided slots in PBFT, and the checkpoints by which their votes are forgotten.

Rules (Castro and Liskov 1999, section 4.3):
* Slots are executed in order, each with the commit certificate that decided it.
* Every `checkpoint` slots a replica signs its history. A quorum of such words is a stable checkpoint: the low watermark
  moves there, and votes below it are forgotten.
* A replica's word for a checkpoint leaves only when the slots it stands for are durable.
"""

from coordination.catch_up import CatchUp
from coordination.decision_log import Entry, Past
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
from coordination.protocol import NEVER
from coordination.signature import certificate

KEPT = 3
"""How many checkpoint words of one replica are kept: it can be no further ahead of the others than a window."""


NEGLECT = 4
"""A request passed over for so many checkpoints is neglected."""


class Execution:
    """The executed part of a replica."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.catch_up = CatchUp(
            state.setting,
            state.out,
            state.decisions,
            state.pool,
            append=self.append,
            certified=self._is_decided,
        )
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

    def remind(self, source: int) -> None:
        """Says its words again for the checkpoints that are not stable: all that were said once may have been lost.

        Else the window would stay full for ever. Whoever is at its end knows the history there, also behind a summary.
        """
        state = self._state
        every = state.options.checkpoint
        for slot in range(state.stable.slot + every, state.decisions.slot + 1, every):
            history = state.decisions.history_at(slot)
            if history is not None:
                word = state.scheme.sign(state.id, checkpoint_statement(slot, history))
                message = Checkpoint(slot, history, word)
                state.out.send(source, message, state.out.token)
                state.out.hold(state.out.token, self._count, message)

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

    # --- Keeping up -------------------------------------------------------------------------------------------

    def on_past(self, source: int, message: Past) -> bool:
        """Slots that this replica lacks. Whether there was anything new in them."""
        if not self.catch_up.on_past(message):
            return False
        self._state.attempts = 0
        return True

    def _is_decided(self, entry: Entry, found: bytes) -> bool:
        statement = commit_statement(entry.view, entry.slot, found)
        return entry.certificate is not None and self._state.judge.certified(statement, entry.certificate)

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
