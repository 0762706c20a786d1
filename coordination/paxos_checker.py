"""A checker of Multi-Paxos's properties, over history, at every step.

Rules (Lamport 2001, sections 2.2 and 2.3):
* One value a slot: a value is chosen when a second quorum of acceptors has it *durably* under one ballot, whether or
  not anybody knows; no other is chosen in that slot, ever, and only chosen values are handed to the application.
* One value for (slot, ballot). An acceptor's word leaves only when it is durable, and it keeps it across restarts: it
  promises no lower ballot again, accepts nothing under a ballot lower than it promised, and tells with a promise all
  that it accepted.
* A leader has the promises of a first quorum, and proposes in each slot the value of the highest ballot among them.
* First and second quorums meet. Decided and promised never fall in a life. Reads see what was decided before them.

Costs: O(1) for each value accepted, decided or proposed; promises are looked at once each.
"""

from typing import Any

from coordination.checker import violated
from coordination.paxos import MultiPaxos
from coordination.paxos_messages import (
    Accept,
    Accepted,
    Alive,
    Commands,
    Prepare,
    Promise,
    Promised,
    Took,
)
from coordination.protocol import Effects, Event, Persisted, Protocol, Read, Receive, Restore


class _View:
    """One acceptor: what of its words is durable, and what it said."""

    __slots__ = ("accepted", "chosen", "kept_promise", "said", "told", "writing")

    def __init__(self) -> None:
        self.writing: list[tuple[int, Any]] = []
        """(token, record) under way to its disk."""
        self.said: list[tuple[int, int]] = []
        """(token, ballot) of promises that wait for the disk."""
        self.kept_promise = 0
        """The highest ballot that it promised or accepted, and said so."""
        self.told: dict[int, Promise] = {}
        """Promises to it for its present ballot."""
        self.chosen = 0
        self.accepted: dict[int, int] = {}
        """By slot: the highest ballot under which it accepted something durably."""


class PaxosChecker:
    """Watches one run of Multi-Paxos. A `Checker`."""

    def __init__(self) -> None:
        self._views: dict[int, _View] = {}
        self._votes: dict[tuple[int, int], tuple[Commands, set[int]]] = {}
        """By (slot, ballot): the value, and who has it durably."""
        self._chosen: dict[int, tuple[int, Commands]] = {}
        """By slot: the first ballot under which it was chosen, and the value."""
        self._proposed: dict[tuple[int, int], Commands] = {}
        self._decided_to = 0
        self._second = 1
        self._reads: dict[tuple[int, str], int] = {}

    def observe(self, now: float, replica: int, protocol: Protocol, event: Event, effects: Effects) -> None:
        """See `Checker`."""
        assert isinstance(protocol, MultiPaxos), "this checker knows Multi-Paxos alone"
        view = self._views.get(replica)
        if view is None:
            view = self._views[replica] = _View()
            self._second = protocol.second_quorum
            n = len(protocol.quorums.first.members)
            if protocol.first_quorum + protocol.second_quorum <= n:
                raise violated("first and second quorums meet", now, replica, n=n)
        if isinstance(event, Receive):
            message = event.message
            if isinstance(message, Promise) and message.ballot == protocol.ballot:
                self._promised_to(view, event.source, message)
        elif isinstance(event, Persisted):
            self._persisted(now, replica, view, event.token)
        elif isinstance(event, Restore):
            view.writing, view.said, view.told = [], [], {}
            view.chosen = 0
            self._found(now, replica, event.records)
        elif isinstance(event, Read):
            self._reads[replica, repr(event.context)] = self._decided_to
        if effects.records:
            view.writing += [(effects.token, record) for record in effects.records]
        for to, message, token in effects.sends:
            if isinstance(message, Accept):
                self._offered(now, replica, protocol, view, message)
            elif isinstance(message, Promise | Accepted):
                self._said(now, replica, view, message, token)
            elif isinstance(message, Prepare):
                if any(
                    writing > token and isinstance(record, Promised) and record.ballot == message.ballot
                    for writing, record in view.writing
                ):
                    raise violated("a ballot is used when it is stored", now, replica, ballot=message.ballot)
                view.told = {
                    source: told for source, told in view.told.items() if told.ballot == message.ballot
                }
            elif isinstance(message, Alive) and message.ballot < view.kept_promise:
                raise violated("promises never fall", now, replica, to=to, promised=view.kept_promise)
        if effects.installed is not None:
            view.chosen = max(view.chosen, effects.installed.slot)
        if effects.decided:
            self._decided(now, replica, view, effects)
        if effects.reads:
            self._read(now, replica, effects)

    def finish(self) -> None:
        """See `Checker`: all is judged as it happens."""

    # --- Acceptors ----------------------------------------------------------------------------------------------

    def _said(self, now: float, replica: int, view: _View, message: Any, token: int) -> None:
        ballot = message.ballot
        if ballot < view.kept_promise:
            raise violated(
                "nothing is promised or accepted below a promise",
                now,
                replica,
                ballot=ballot,
                promised=view.kept_promise,
            )
        for writing, record in reversed(view.writing):
            if writing <= token:
                break
            stored = record.ballot if isinstance(record, Promised | Took) else 0
            if stored == ballot and (isinstance(message, Promise) or _holds(record, message)):
                raise violated(
                    "a promise or acceptance leaves only when it is stored", now, replica, ballot=ballot
                )
        if isinstance(message, Promise):
            told = {slot for slot, _, _ in message.accepted}
            for slot, under in view.accepted.items():
                if slot >= message.slot and slot not in told:
                    facts = {"slot": slot, "accepted_under": under, "promised": ballot}
                    raise violated("a promise tells all that was accepted", now, replica, **facts)
        if token:
            view.said.append((token, ballot))
        else:
            view.kept_promise = max(view.kept_promise, ballot)

    def _persisted(self, now: float, replica: int, view: _View, token: int) -> None:
        stored = []
        while view.writing and view.writing[0][0] <= token:
            stored.append(view.writing.pop(0)[1])
        self._found(now, replica, stored)
        while view.said and view.said[0][0] <= token:
            view.kept_promise = max(view.kept_promise, view.said.pop(0)[1])

    def _found(self, now: float, replica: int, records: Any) -> None:
        """These records are durable: the votes among them count. What was only learned is nobody's vote."""
        for record in records:
            if isinstance(record, Took):
                accepted = self._views[replica].accepted
                for place, value in enumerate(record.values):
                    slot = record.slot + place
                    accepted[slot] = max(record.ballot, accepted.get(slot, 0))
                    self._voted(now, replica, record.slot + place, record.ballot, value)

    def _voted(self, now: float, replica: int, slot: int, ballot: int, value: Commands) -> None:
        known, voters = self._votes.setdefault((slot, ballot), (value, set()))
        chosen = self._chosen.get(slot)
        if known is not value and known != value:
            raise violated(
                "one value for a slot and ballot",
                now,
                replica,
                slot=slot,
                ballot=ballot,
                values=(known, value),
            )
        voters.add(replica)
        if len(voters) < self._second:
            return
        if chosen is None:
            self._chosen[slot] = (ballot, value)
        elif chosen[1] is not value and chosen[1] != value:
            raise violated(
                "one value a slot",
                now,
                replica,
                slot=slot,
                chosen=chosen,
                and_also=(ballot, value),
                voters=sorted(voters),
            )

    # --- Leaders ------------------------------------------------------------------------------------------------

    def _promised_to(self, view: _View, source: int, message: Promise) -> None:
        if any(told.ballot != message.ballot for told in view.told.values()):
            view.told = {}
        view.told[source] = message

    def _offered(self, now: float, replica: int, protocol: MultiPaxos, view: _View, message: Accept) -> None:
        for place, value in enumerate(message.values):
            slot = message.slot + place
            known = self._proposed.get((slot, message.ballot))
            if known is None:
                self._proposed[slot, message.ballot] = value
                broken, facts = self._unfit(protocol, view, slot, value)
                if broken:
                    raise violated(broken, now, replica, slot=slot, ballot=message.ballot, **facts)
            elif known is not value and known != value:
                raise violated(
                    "one value for a slot and ballot",
                    now,
                    replica,
                    slot=slot,
                    ballot=message.ballot,
                    values=(known, value),
                )

    def _unfit(
        self, protocol: MultiPaxos, view: _View, slot: int, value: Commands
    ) -> tuple[str, dict[str, Any]]:
        """Which rule a leader breaks that proposes this value for the first time; none: an empty name."""
        ballot = protocol.ballot
        heard = {source for source, told in view.told.items() if told.ballot == ballot} | {protocol.id}
        promises = {source: told for source, told in protocol.promises.items() if source in heard}
        if len(promises) < protocol.first_quorum:
            return "a leader has the promises of a first quorum", {"promises": sorted(promises)}
        best: tuple[int, Commands] = (0, ())
        for told in promises.values():
            for at, under, accepted in told.accepted:
                if at == slot and under > best[0]:
                    best = (under, accepted)
        if best[0] and best[1] != value:
            rule = "a proposal carries the value of the highest ballot that its first quorum accepted"
            return rule, {"proposed": value, "accepted": best}
        return "", {}

    # --- Learners -----------------------------------------------------------------------------------------------

    def _decided(self, now: float, replica: int, view: _View, effects: Effects) -> None:
        for one in effects.decided:
            if one.slot <= view.chosen:
                raise violated("what is decided never falls", now, replica, slot=one.slot, known=view.chosen)
            view.chosen = one.slot
            chosen = self._chosen.get(one.slot)
            if chosen is None or (chosen[1] is not one.commands and chosen[1] != one.commands):
                raise violated(
                    "only a chosen value is decided",
                    now,
                    replica,
                    slot=one.slot,
                    decided=one.commands,
                    chosen=chosen,
                )
        self._decided_to = max(self._decided_to, view.chosen)

    def _read(self, now: float, replica: int, effects: Effects) -> None:
        for answer in effects.reads:
            asked = self._reads.pop((replica, repr(answer.context)), 0)
            if answer.slot < asked:
                raise violated(
                    "a read sees all that was decided before it was asked",
                    now,
                    replica,
                    answered=answer.slot,
                    decided=asked,
                )


def _holds(record: Any, message: Accepted) -> bool:
    return isinstance(record, Took) and record.slot <= message.slot < record.slot + len(record.values)
