"""Leaving a view of PBFT whose primary fails, and beginning the next.

Rules (Castro and Liskov 1999, section 4.4 and 4.5.2):
* Who leaves for a view votes in none before, and says so on disk first. Its view change says what may be decided.
* f+1 replicas in later views take the others along, to the lowest of these views, time-out or not.
* The time-out for a view's beginning runs once a quorum has left for it or for a later one (what they said of it may be
  lost), so that replicas cut off do not run ahead.
* The primary of the view begins it with a quorum of view changes; its new view is checked by everybody.
"""

from collections.abc import Callable

from coordination.pbft.execution import Execution
from coordination.pbft.message import (
    Entered,
    Left,
    NewView,
    Proposal,
    ViewChange,
    new_view_statement,
    prepare_statement,
    view_change_statement,
)
from coordination.pbft.ordering import Ordering
from coordination.pbft.state import State
from coordination.pbft.view_change import outcome
from coordination.protocol import NEVER


class Departure:
    """The part of a replica that changes views."""

    def __init__(
        self, state: State, execution: Execution, ordering: Ordering, receive: Callable[[int, object], None]
    ) -> None:
        self._state = state
        self._execution = execution
        self._ordering = ordering
        self._receive = receive
        self._changes: dict[int, ViewChange] = {}
        """The latest of each replica."""

    @property
    def change(self) -> ViewChange | None:
        """This replica's own latest view change."""
        return self._changes.get(self._state.id)

    def leave(self, view: int) -> None:
        """Leaves for a view."""
        state = self._state
        state.view, state.active = view, False
        state.log.begin()
        state.attempts += 1
        state.deadline = NEVER
        state.out.trace("leave", view=view)
        token = state.out.persist(Left(view))
        change = self._make()
        state.out.broadcast(change, token)
        state.out.hold(token, self._count, change)

    def resume(self) -> None:
        """After a restart between two views: says again what this replica knows."""
        change = self._make()
        self._changes[self._state.id] = change
        self._state.out.broadcast(change)

    def _make(self) -> ViewChange:
        state = self._state
        prepared = state.log.prepared()
        word = state.scheme.sign(state.id, view_change_statement(state.view, state.stable, prepared))
        return ViewChange(state.view, state.stable, prepared, word)

    def on_view_change(self, source: int, message: ViewChange) -> None:
        """Another replica leaves."""
        state = self._state
        if message.view < state.view or (message.view == state.view and state.active):
            return
        signer = message.signature.signer
        known = self._changes.get(signer)
        if signer == state.id or (known is not None and known.view >= message.view):
            return
        if state.judge.change(message):
            self._count(message)

    def _count(self, change: ViewChange) -> None:
        state = self._state
        known = self._changes.get(change.signature.signer)
        if known is not None and known.view > change.view:
            return
        self._changes[change.signature.signer] = change
        ahead = sorted(
            one.view for by, one in self._changes.items() if by != state.id and one.view > state.view
        )
        if len(ahead) > state.f:
            self.leave(ahead[0])
        elif not state.active:
            self._begin_if_due()

    def _begin_if_due(self) -> None:
        state = self._state
        left = [one for _, one in sorted(self._changes.items()) if one.view >= state.view]
        here = tuple([one for one in left if one.view == state.view])
        own = self.change
        if len(here) >= state.needed and state.primary(state.view) == state.id and own in here:
            self._begin(here)
        elif len(left) >= state.needed and state.deadline == NEVER:
            state.deadline = state.now + state.patience_s

    def _begin(self, changes: tuple[ViewChange, ...]) -> None:
        state, view = self._state, self._state.view
        sign = state.scheme.sign
        _, found = outcome(changes)
        proposals = tuple(
            [
                Proposal(slot, what, sign(state.id, prepare_statement(view, slot, what)))
                for slot, what in found
            ]
        )
        word = sign(state.id, new_view_statement(view, changes, proposals))
        new_view = NewView(view, changes, proposals, word)
        token = state.out.persist(Entered(new_view))
        state.out.broadcast(new_view, token)
        self._enter(new_view)

    def on_new_view(self, source: int, message: NewView) -> None:
        """A primary begins its view."""
        state = self._state
        if message.view < state.view or (message.view == state.view and state.active) or message.view <= 0:
            return
        if state.judge.new_view(message, state.primary(message.view), tuple(self._changes.values())):
            state.out.persist(Entered(message))
            self._enter(message)

    def _enter(self, new_view: NewView) -> None:
        state = self._state
        stable, _ = outcome(new_view.changes)
        if stable.slot > state.stable.slot:
            self._execution.stabilise(stable)
        self.adopt(new_view)
        state.deadline = NEVER
        for signer in [by for by, one in self._changes.items() if one.view <= new_view.view]:
            del self._changes[signer]
        state.out.trace("enter", view=new_view.view, proposals=len(new_view.proposals))
        for number in sorted(state.log.slots):
            self._ordering.vote(state.log.slots[number])
        undecided = [
            slot.batch for at, slot in state.log.slots.items() if at > state.decisions.slot and slot.batch
        ]
        state.pool.restock(undecided)
        self._ordering.route(tuple([one.request for one in state.pool.waiting.values()]))
        for source, message in state.early.take():
            self._receive(source, message)

    def adopt(self, new_view: NewView) -> None:
        """The view begins: its slots get what its primary proposes, with the batches that are at hand."""
        state = self._state
        state.view, state.active, state.new_view = new_view.view, True, new_view
        state.log.begin()
        for one in new_view.proposals:
            state.log.top = max(state.log.top, one.slot)
            if state.log.covers(one.slot):
                entry = state.decisions.entry(one.slot)
                batch = entry.batch if entry is not None else None
                state.log.slot(one.slot).propose(one.digest, one.signature, batch)
