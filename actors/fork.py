"""Forks a run at a message: the same past, up to where an agent took it, and another future.

What is kept is a consistent cut of all cells' journals (Mattern, "Virtual time and global states of distributed
systems", 1989): in the cell that took the message, what came before it; in every other cell, all that does not follow
from what was cut off. In `rounds` no cell is kept beyond the message's round. The fork's journal ends with the entry
`Changed`, from which on the cells follow the new plan (`Plan.before` holds the old one), so a fork can be recovered,
replayed and forked like any run.
"""

from pathlib import Path

import msgspec

from actors import entry
from actors.address import Placement
from actors.cell import Cell
from actors.entry import AnyEntry, Changed, encode_entries
from actors.errors import ConfigurationError
from actors.journal import JournalWriter
from actors.layout import cell_folder
from actors.plan import Plan
from actors.player import Player
from actors.replay import Unattended, entries_of, placement_in

_COMMIT_ENTRIES = 10_000


class ForkPoint(msgspec.Struct, frozen=True):
    """Where a run was forked."""

    message: str
    address: str
    """The agent that took the message."""
    now: float
    """The round, or second, in which it did."""
    kept: int
    """Entries of the past that the fork keeps."""
    dropped: int


async def fork_journal(journal: Path, plan: Plan, message: str, target: Path) -> ForkPoint:
    """Writes the journal of a fork of a run into `target`.

    `plan` is the run's own. Raises `ConfigurationError` if no agent took a message with this id.
    """
    placement = placement_in(journal, plan)
    cells = range(placement.cells)
    at_cell, at_entry, address, now = _find(journal, placement, message)
    lengths = [sum(1 for _ in entries_of(journal, cell)) for cell in cells]
    cuts = list(lengths)
    cuts[at_cell] = at_entry
    if plan.schedule == "rounds":
        for cell in cells:
            cuts[cell] = min(cuts[cell], _end_of_round(journal, cell, int(now)))
    sent = [await _sent_by_entry(journal, plan, placement, cell) for cell in cells]
    while _cut_what_follows(journal, cuts, sent):
        pass
    for cell in cells:
        _write(journal, target, cell, cuts[cell], plan)
    (target / "layout.json").write_bytes((journal / "layout.json").read_bytes())
    return ForkPoint(message, address, now, sum(cuts), sum(lengths) - sum(cuts))


def _find(journal: Path, placement: Placement, message: str) -> tuple[int, int, str, float]:
    for cell in range(placement.cells):
        now = 0.0
        for place, line in enumerate(entries_of(journal, cell)):
            if isinstance(line, entry.Clock):
                now = line.now
            elif isinstance(line, entry.Began):
                now = float(line.round)
            elif isinstance(line, entry.Took | entry.Answered) and line.message.message_id == message:
                return cell, place, line.address, now
    raise ConfigurationError(
        f"no agent took a message {message!r} in this run. Ids look like `worker/3#12`: the sender and its number."
    )


def _end_of_round(journal: Path, cell: int, number: int) -> int:
    place = -1
    for place, line in enumerate(entries_of(journal, cell)):
        if isinstance(line, entry.Began) and line.round > number:
            return place
    return place + 1


Steps = list[tuple[int, dict[int, int]]]
"""For some numbers of entries, how much a cell has sent to each other cell when it has carried out so many."""


async def _sent_by_entry(journal: Path, plan: Plan, placement: Placement, number: int) -> Steps:
    """Plays a cell to learn how much it had sent at each point. An agent's send belongs to the entry that ran it."""
    hooks = Unattended()
    cell = Cell(plan, placement, number, hooks)
    hooks.player = player = Player(cell)
    steps: Steps = []
    totals = {peer: 0 for peer in range(placement.cells) if peer != number}
    try:
        for place, line in enumerate(entries_of(journal, number)):
            await player.play([line])
            grown = False
            for peer in totals:
                if outbox := cell.mail.outboxes[peer]:
                    totals[peer] += len(outbox)
                    outbox.clear()
                    grown = True
            if grown:
                steps.append((place + 1, dict(totals)))
    finally:
        cell.close()
    return steps


def _sent_before(steps: Steps, cut: int, peer: int) -> int:
    sent = 0
    for place, totals in steps:
        if place > cut:
            break
        sent = totals[peer]
    return sent


def _cut_what_follows(journal: Path, cuts: list[int], sent: list[Steps]) -> bool:
    """Cuts each cell before the first batch that holds a message which its sender has not sent any more."""
    changed = False
    for cell, cut in enumerate(cuts):
        for place, line in enumerate(entries_of(journal, cell)):
            if place >= cut:
                break
            if isinstance(line, entry.Arrived) and line.source >= 0:
                limit = _sent_before(sent[line.source], cuts[line.source], cell)
                if line.first + line.count > limit:
                    cuts[cell] = place
                    changed = True
                    break
    return changed


def _write(journal: Path, target: Path, cell: int, cut: int, plan: Plan) -> None:
    assert plan.journal is not None
    folder = cell_folder(target, cell)
    folder.mkdir(parents=True, exist_ok=True)
    settings = plan.journal
    with JournalWriter(
        folder, segment_bytes=settings.segment_bytes, compress=settings.compress, sync=settings.sync
    ) as writer:
        batch: list[AnyEntry] = []
        for place, line in enumerate(entries_of(journal, cell)):
            if place >= cut:
                break
            batch.append(line)
            if len(batch) >= _COMMIT_ENTRIES:
                writer.append(encode_entries(batch))
                batch = []
        writer.append(encode_entries([*batch, Changed()]))
        writer.sync()
