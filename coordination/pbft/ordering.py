"""The three phases by which PBFT gives batches their slots: pre-prepare, prepare, commit.

Rules (Castro and Liskov 1999, section 4.2):
* A backup prepares the first pre-prepare of its view for a slot between the watermarks whose requests are all vouched
  for by their origins. A quorum of prepares for it, the primary's among them, is a prepared certificate.
* With that on disk it commits; a quorum of commits decides. Its own votes count once they are durable.
* Two votes of one replica at one (view, slot, phase) are evidence; the first stands.
"""

from typing import Any

from coordination.decision_log import Entry
from coordination.pbft.execution import Execution
from coordination.pbft.log import Slot
from coordination.pbft.message import (
    Accepted,
    Commit,
    Committing,
    Prepare,
    Prepared,
    PrePrepare,
    commit_statement,
    prepare_statement,
)
from coordination.pbft.state import State
from coordination.request import Batch, Forward
from coordination.signature import Signature, digest


class Ordering:
    """The ordering part of a replica."""

    def __init__(self, state: State, execution: Execution) -> None:
        self._state = state
        self._execution = execution
        self._log = state.log
        self._decisions = state.decisions
        self._out = state.out
        self._scheme = state.scheme

    # --- Requests ---------------------------------------------------------------------------------------------

    def route(self, requests: Batch) -> None:
        """Requests go to the primary; while there is none, they wait for it."""
        state = self._state
        if state.leads:
            self.propose()
        elif state.active and requests:
            signed = state.pool.signed([request.key for request in requests])
            self._out.send(state.primary(state.view), Forward(signed), state.life)

    def on_forward(self, source: int, message: Forward) -> None:
        """Requests of others: to be proposed, or passed on and watched."""
        state = self._state
        fresh = state.pool.admit_all(self._decisions.slot, message.requests)
        if fresh:
            self.route(fresh)

    def propose(self) -> None:
        """The primary gives slots to what waits."""
        state, log = self._state, self._log
        log.top = max(log.top, self._decisions.slot)
        limit = min(log.low + log.window, self._decisions.slot + state.options.pipeline)
        while log.top < limit and (batch := state.pool.take()):
            log.top += 1
            found = digest(batch)
            word = self._scheme.sign(state.id, prepare_statement(state.view, log.top, found))
            slot = log.slot(log.top)
            slot.propose(found, word, batch)
            slot.voted = True
            token = self._out.persist(Accepted(state.view, log.top, batch, word))
            self._out.broadcast(PrePrepare(state.view, log.top, batch, word), token)
            self._out.hold(token, self._count_prepare, state.view, log.top, found, word)

    # --- Phases -----------------------------------------------------------------------------------------------

    def _is_present(self, source: int, message: PrePrepare | Prepare | Commit) -> bool:
        """Whether a message is of this view and window. One of a later view is kept for later."""
        state = self._state
        if message.view == state.view and state.active:
            return self._log.covers(message.slot)
        if message.view >= state.view:
            state.early.put(source, message)
        return False

    def on_pre_prepare(self, source: int, message: PrePrepare) -> None:
        """A pre-prepare of the primary, from itself or passed on."""
        word = message.signature
        if word.signer != self._state.primary(message.view) or not self._is_present(source, message):
            return
        slot = self._log.slot(message.slot)
        found = digest(message.batch)
        if slot.digest == found and slot.batch is not None:
            return
        if not self._scheme.verify(prepare_statement(message.view, message.slot, found), word):
            return
        if slot.digest is not None and slot.digest != found:
            self._accuse(slot, Prepare, (slot.digest, slot.signature), (found, word))
            return
        if slot.digest is None and not self._is_valid(message.batch, word.signer):
            return
        slot.propose(found, word, message.batch)
        self._log.top = max(self._log.top, slot.number)
        self.vote(slot)

    def _is_valid(self, batch: Batch, proposer: int) -> bool:
        size = sum([len(request.commands) for request in batch])
        return size <= self._state.batch and all(
            self._state.pool.vouched(request, proposer) for request in batch
        )

    def vote(self, slot: Slot) -> None:
        """Prepares what was proposed, if its batch is known and this was not done in this view."""
        if slot.voted or slot.batch is None or slot.digest is None or slot.signature is None:
            return
        slot.voted = True
        state = self._state
        view, number, found = state.view, slot.number, slot.digest
        token = self._out.persist(Accepted(view, number, slot.batch, slot.signature))
        if state.leads:
            word = slot.signature
        else:
            self._count_prepare(view, number, found, slot.signature)
            word = self._scheme.sign(state.id, prepare_statement(view, number, found))
            self._out.broadcast(Prepare(view, number, found, word), token)
        self._out.hold(token, self._count_prepare, view, number, found, word)

    def on_prepare(self, source: int, message: Prepare) -> None:
        """Another replica's prepare."""
        if not self._is_present(source, message):
            return
        slot = self._log.slot(message.slot)
        if slot.committing and message.digest == slot.digest:
            return  # There are enough. One for something else would be evidence, and goes on.
        if self._state.is_other(message.signature) and self._scheme.verify(
            prepare_statement(message.view, message.slot, message.digest), message.signature
        ):
            self._count_prepare(message.view, message.slot, message.digest, message.signature)

    def _count_prepare(self, view: int, number: int, found: bytes, word: Signature) -> None:
        state = self._state
        if view != state.view or not state.active or not self._log.covers(number):
            return
        slot = self._log.slot(number)
        clash = slot.prepares.add(found, word)
        if clash is not None:
            self._accuse(slot, Prepare, clash, (found, word))
            return
        if slot.committing or slot.batch is None or found != slot.digest:
            return
        if slot.prepares.count(found) >= state.needed:
            self._commit(slot, found)

    def _commit(self, slot: Slot, found: bytes) -> None:
        state = self._state
        slot.committing = True
        view, number = state.view, slot.number
        proof = slot.prepares.certificate(self._scheme, found)
        slot.prepared = Prepared(view, number, found, proof)
        token = self._out.persist(Committing(slot.prepared))
        word = self._scheme.sign(state.id, commit_statement(view, number, found))
        self._out.broadcast(Commit(view, number, found, word), token)
        self._out.hold(token, self._count_commit, view, number, found, word)

    def on_commit(self, source: int, message: Commit) -> None:
        """Another replica's commit."""
        if not self._is_present(source, message):
            return
        slot = self._log.slot(message.slot)
        if message.slot <= self._decisions.slot and message.digest == slot.digest:
            return  # It is decided. One for something else would be evidence, and goes on.
        if self._state.is_other(message.signature) and self._scheme.verify(
            commit_statement(message.view, message.slot, message.digest), message.signature
        ):
            self._count_commit(message.view, message.slot, message.digest, message.signature)

    def _count_commit(self, view: int, number: int, found: bytes, word: Signature) -> None:
        state = self._state
        if view != state.view or not state.active or not self._log.covers(number):
            return
        slot = self._log.slot(number)
        clash = slot.commits.add(found, word)
        if clash is not None:
            self._accuse(slot, Commit, clash, (found, word))
            return
        count = slot.commits.count(found)
        if count > state.f and number > state.heard:
            state.heard = number
        if count >= state.needed and number == self._decisions.slot + 1:
            self.execute()

    def execute(self) -> None:
        """Executes decided slots in order, and goes on with what waited for that."""
        state = self._state
        slot = self._log.slots.get(self._decisions.slot + 1)
        while slot is not None and slot.batch is not None and slot.digest is not None:
            if slot.commits.count(slot.digest) < state.needed:
                break
            proof = slot.commits.certificate(self._scheme, slot.digest)
            self._execution.append(Entry(slot.number, state.view, slot.batch, proof), slot.digest)
            slot = self._log.slots.get(self._decisions.slot + 1)
        self.route(state.pool.release(state.now, self._decisions.slot))

    def resume(self, slot: Slot) -> None:
        """After a restart: its own durable votes count again.

        Those of undecided slots are said again: a crash may have come between the disk and the network.
        """
        state, view, number, found = self._state, self._state.view, slot.number, slot.digest
        if found is None or slot.signature is None or slot.batch is None or not slot.voted:
            return
        said: list[PrePrepare | Prepare | Commit] = []
        slot.prepares.add(found, slot.signature)
        if state.leads:
            said.append(PrePrepare(view, number, slot.batch, slot.signature))
        else:
            word = self._scheme.sign(state.id, prepare_statement(view, number, found))
            slot.prepares.add(found, word)
            said.append(Prepare(view, number, found, word))
        if slot.committing:
            word = self._scheme.sign(state.id, commit_statement(view, number, found))
            slot.commits.add(found, word)
            said.append(Commit(view, number, found, word))
        if number > self._decisions.slot:
            for message in said:
                self._out.broadcast(message)

    def _accuse(
        self, slot: Slot, kind: Any, first: tuple[bytes, Signature | None], second: tuple[bytes, Signature]
    ) -> None:
        found, before = first
        if before is not None:
            view, number = self._state.view, slot.number
            self._out.accuse(
                before.signer, kind(view, number, found, before), kind(view, number, second[0], second[1])
            )
