"""The log of one replica: what it holds in memory, and how far that is stored, committed and applied.

Rules:
* snapshot index <= applied <= applying <= committed <= last, and none of them ever falls in one life.
* The log is cut only where an entry that came *conflicts* with it: same index, other term; never at or below the
  commit index (Ongaro 2014, figure 3.1, AppendEntries rule 3). A late or repeated message cuts nothing.
* Entries below the snapshot may be kept a while for followers that lag behind.
* `handed` and `stable` follow entries to the disk: the first index not yet handed over to be stored, and the first not
  known to be stored.
"""

from coordination.raft.messages import Entry, Snapshot


class Log:
    """Entries `base` + 1 to `last`."""

    __slots__ = (
        "applied",
        "applying",
        "base",
        "base_term",
        "committed",
        "cut_at",
        "cut_stable",
        "cut_term",
        "entries",
        "fresh",
        "handed",
        "incoming",
        "incoming_handed",
        "last",
        "last_term",
        "snapshot",
        "stable",
    )

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.base = 0
        """The index before the first entry held; its term is known too."""
        self.base_term = 0
        self.last = 0
        self.last_term = 0
        self.committed = 0
        self.applying = 0
        self.applied = 0
        self.handed = 1
        self.stable = 1
        self.fresh: tuple[Entry, ...] = ()
        """The entries appended last, as they came: messages and records share them."""
        self.snapshot: Snapshot | None = None
        """The latest state that can be sent to a follower in place of entries."""
        self.incoming: Snapshot | None = None
        """A snapshot from the leader that is not yet known to be stored."""
        self.incoming_handed = False
        self.cut_at = 0
        """Where the last append cut this log, 0 if it cut nothing; the term that stood there, and `stable` then."""
        self.cut_term = 0
        self.cut_stable = 0

    def term_at(self, index: int) -> int | None:
        """The term at an index; None below and beyond what is held."""
        if index == self.last:
            return self.last_term
        offset = index - self.base
        if 0 < offset <= len(self.entries):
            return self.entries[offset - 1].term
        return self.base_term if offset == 0 else None

    def slice(self, low: int, high: int) -> tuple[Entry, ...]:
        """Entries low to high, both included, all of them held."""
        fresh = self.fresh
        if high == self.last and high - low + 1 == len(fresh):
            return fresh
        base = self.base + 1
        return tuple(self.entries[low - base : high - base + 1])

    def is_up_to_date(self, index: int, term: int) -> bool:
        """Whether a log that ends there is at least as complete as this one (section 3.6.1)."""
        return term > self.last_term or (term == self.last_term and index >= self.last)

    # --- Growing ------------------------------------------------------------------------------------------------

    def append(self, entries: tuple[Entry, ...]) -> None:
        """Adds entries after the last one."""
        self.entries.extend(entries)
        self.fresh = entries
        last = entries[-1]
        self.last = last.index
        self.last_term = last.term

    def try_append(self, index: int, log_term: int, entries: tuple[Entry, ...]) -> bool:
        """Takes over a leader's entries that follow (index, log_term). False, and no change, if they do not fit here.

        `index` is at or beyond the commit index.
        """
        self.cut_at = 0
        if index == self.last:
            if log_term != self.last_term:
                return False
            if entries:
                self.append(entries)
            return True
        if self.term_at(index) != log_term:
            return False
        last = self.last
        for position, entry in enumerate(entries):
            if entry.index > last:
                self.append(entries[position:])
                return True
            if self.entries[entry.index - self.base - 1].term != entry.term:
                if entry.index <= self.committed:
                    return False
                self._cut(entry.index)
                self.append(entries[position:])
                return True
        return True

    def _cut(self, index: int) -> None:
        self.cut_at = index
        self.cut_term = self.entries[index - self.base - 1].term
        self.cut_stable = self.stable
        del self.entries[index - self.base - 1 :]
        self.last = index - 1
        self.handed = min(self.handed, index)
        self.stable = min(self.stable, index)

    def conflict_by_term(self, index: int, term: int) -> tuple[int, int]:
        """The last index at or before `index` whose term is at most `term` or not known; and that term, or 0.

        Skips, in one message, all entries of terms that cannot agree.
        """
        while index > 0:
            found = self.term_at(index)
            if found is None:
                return index, 0
            if found <= term:
                return index, found
            index -= 1
        return 0, 0

    # --- To the disk --------------------------------------------------------------------------------------------

    def take_unhanded(self) -> tuple[Entry, ...]:
        """The entries to be stored next; they count as handed over from now on."""
        if self.handed > self.last:
            return ()
        taken = self.slice(self.handed, self.last)
        self.handed = self.last + 1
        return taken

    def stable_to(self, index: int, term: int) -> None:
        """Entries up to (index, term) are stored, and nothing under way can overwrite them."""
        if self.stable <= index and self.term_at(index) == term:
            self.stable = index + 1
            self.handed = max(self.handed, self.stable)

    # --- Snapshots ----------------------------------------------------------------------------------------------

    def reset_to(self, snapshot: Snapshot) -> None:
        """A snapshot in place of everything."""
        self.entries = []
        self.fresh = ()
        self.base = self.last = snapshot.index
        self.base_term = self.last_term = snapshot.term
        self.committed = snapshot.index
        self.handed = self.stable = snapshot.index + 1
        self.snapshot = snapshot

    def receive(self, snapshot: Snapshot) -> None:
        """A leader's snapshot in place of everything; it has to be stored and applied."""
        self.reset_to(snapshot)
        self.incoming = snapshot
        self.incoming_handed = False

    def snapshot_stored(self, index: int) -> None:
        """The leader's snapshot that ends at index is stored and applied."""
        if self.incoming is not None and self.incoming.index == index:
            self.incoming = None
            self.incoming_handed = False

    def drop_to(self, index: int) -> None:
        """Forgets the entries up to index, all of them applied."""
        if index <= self.base:
            return
        term = self.term_at(index)
        assert term is not None, "only what is held is dropped"
        del self.entries[: index - self.base]
        self.base = index
        self.base_term = term
