"""Catching up by certificates, and compaction: what signed protocols do alike with their decided slots.

Rules:
* A slot from a peer is taken if it is the next one and its certificate holds; a summary if f+1 members signed it.
* The application's state at a slot is signed and sent once all slots up to it are durable. When f+1 replicas have
  signed the same, it stands for these slots, and one record is to replace all (`saving`).
"""

from collections.abc import Callable

from coordination.decision_log import PAGE, DecisionLog, Entry, Past, StateVote, state_statement, vouches
from coordination.outbox import Outbox
from coordination.protocol import Compact, Installed, Setting
from coordination.request import RequestPool
from coordination.signature import digest


class CatchUp:
    """The part of a replica that takes and hands on decided slots."""

    def __init__(
        self,
        setting: Setting,
        out: Outbox,
        decisions: DecisionLog,
        pool: RequestPool,
        *,
        append: Callable[[Entry, bytes], None],
        certified: Callable[[Entry, bytes], bool],
    ) -> None:
        self.saving = False
        """One record is to replace all, at the end of this event."""
        self._id = setting.id
        self._scheme = setting.scheme
        self._members = frozenset(setting.members)
        self._needed = (len(setting.members) - 1) // 3 + 1
        self._out = out
        self._decisions = decisions
        self._pool = pool
        self._append = append
        self._certified = certified

    def on_compact(self, event: Compact) -> None:
        """The application's state at a slot."""
        vote = self._decisions.compact(event.slot, event.state)
        if vote is None:
            return
        word = self._scheme.sign(self._id, state_statement(vote.slot, vote.digest))
        vote = StateVote(vote.slot, vote.digest, word)
        self._out.broadcast(vote, self._out.token)
        self._out.hold(self._out.token, self._count, vote)

    def on_state_vote(self, source: int, message: StateVote) -> None:
        """Another replica's word for a state."""
        word = message.signature
        if word is None or word.signer not in self._members or word.signer == self._id:
            return
        if message.slot > self._decisions.base and self._scheme.verify(
            state_statement(message.slot, message.digest), word
        ):
            self._count(message)

    def _count(self, vote: StateVote) -> None:
        assert vote.signature is not None, "only signed votes are counted"
        if self._decisions.vote(vote.signature.signer, vote, self._needed, self._scheme):
            self.saving = True

    def on_past(self, message: Past) -> bool:
        """Slots that this replica lacks. Whether there was anything new in them."""
        decisions = self._decisions
        before = decisions.slot
        summary = message.summary
        if len(message.entries) > PAGE:
            return False
        if summary is not None and summary.slot > decisions.slot:
            if not vouches(self._scheme, message, self._members, self._needed):
                return False
            decisions.install(summary, message.certificate)
            self._out.effects.installed = Installed(summary.slot, summary.state)
            self._pool.prune()
            self.saving = True
        for entry in message.entries:
            if entry.slot != decisions.slot + 1 or entry.certificate is None:
                continue
            found = digest(entry.batch)
            if not self._certified(entry, found):
                break
            self._append(entry, found)
        return decisions.slot > before
