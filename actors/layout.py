"""The layout that a journal was begun with: which cells there are, and who lives where.

A journal goes on only with the layout that began it, on any machine: it is read from `layout.json` in the journal's
folder before anything is computed from the number of processors here.
"""

import os
from pathlib import Path
from typing import Any

import msgspec

from actors.address import Placement
from actors.errors import ConfigurationError
from actors.fault import CellCrash
from actors.plan import Plan


def layout_in(journal: Path, plan: Plan) -> Placement | None:
    """The layout of the journal in a folder; None if there is none.

    Raises `ConfigurationError` if the plan is not one that could have begun it.
    """
    file = journal / "layout.json"
    if not file.exists():
        return None
    try:
        found = msgspec.json.decode(file.read_bytes())
        placement = plan.placement(found["packed"], frozenset(found["dedicated"]))
    except (msgspec.DecodeError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{file} is damaged: {error!r}. Restore it, or begin the run anew."
        ) from error
    wanted = _layout_of(plan, placement)
    if plan.cells is not None:
        wanted["packed"] = plan.cells
    if found != wanted:
        changed = ", ".join(
            f"{key}: {found.get(key)} before, {wanted[key]} now"
            for key in wanted
            if found.get(key) != wanted[key]
        )
        raise ConfigurationError(
            f"{journal} holds the journal of a run with other settings ({changed}). Use the settings of that run to go "
            f"on with it, or another directory to begin anew."
        )
    return placement


def layout_of_run(plan: Plan) -> Placement | None:
    """The layout of the run that a plan goes on with; None if it begins one."""
    return None if plan.journal is None else layout_in(Path(plan.journal.directory), plan)


def cell_folder(directory: Path, number: int) -> Path:
    """Where a cell keeps its journal and checkpoints."""
    return directory / f"cell-{number:04d}"


def next_epoch(folder: Path) -> int:
    """Counts the starts of a cell, from 1."""
    file = folder / "epoch"
    epoch = int(file.read_text()) + 1 if file.exists() else 1
    fresh = folder / "epoch.new"
    fresh.write_text(str(epoch))
    fresh.replace(file)
    return epoch


def keep_layout(plan: Plan, placement: Placement) -> None:
    """Writes down the layout of a run that begins."""
    if plan.journal is None:
        return
    directory = Path(plan.journal.directory)
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "layout.json"
    fresh = file.with_suffix(".new")
    with fresh.open("wb") as target:
        target.write(msgspec.json.encode(_layout_of(plan, placement)))
        target.flush()
        os.fsync(target.fileno())
    fresh.replace(file)


def _layout_of(plan: Plan, placement: Placement) -> dict[str, Any]:
    return {
        "packed": placement.packed,
        "dedicated": sorted(placement.dedicated),
        "roles": dict(placement.counts),
        "schedule": plan.schedule,
    }


def crash_due(crashes: list[tuple[int, CellCrash]], now: float, folder: Path) -> bool:
    """Takes the crashes that are due off a cell's list; True if one is among them that has not happened before.

    That it happens is marked in the cell's folder: the cell comes back and passes the moment again.
    """
    while crashes and crashes[0][1].at <= now:
        number, _ = crashes.pop(0)
        mark = folder / f"crashed-{number}"
        if not mark.exists():
            mark.touch()
            return True
    return False
