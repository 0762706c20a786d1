"""What a cell leaves at the end of a run, and its share of the run's fingerprint."""

from actors import checkpoint
from actors.cell import Cell
from actors.errors import InvalidContent
from actors.fingerprint import Fingerprint
from actors.resident import Resident
from actors.state import capture
from actors.status import Harvest
from actors.store import CheckpointStore


def harvest_of(cell: Cell, store: CheckpointStore | None) -> Harvest:
    """What a cell leaves. `store` holds its resting agents, if it has any. Changes nothing: a run may go on."""
    cell.measures.fold()
    return Harvest(
        agents=len(cell.mail.residents.keys() | cell.waiting.resting),
        turns=cell.turns,
        counts=cell.all_counts(),
        traffic=cell.traffic(),
        sums=cell.measures.sums,
        results=cell.results,
        failures=cell.failures,
        sample=cell.sample,
        fingerprint=None if cell.fingerprint is None else final_fingerprint(cell, store),
    )


def final_fingerprint(cell: Cell, store: CheckpointStore | None) -> int:
    """The cell's fingerprint with the states in which its agents are now. Raises `InvalidContent` naming an agent."""
    assert cell.fingerprint is not None
    final = Fingerprint(cell.fingerprint.total)
    for resident in cell.mail.residents.values():
        _add(final, resident)
    for address in cell.waiting.resting - cell.mail.residents.keys():
        assert store is not None
        resident = Resident(address, cell.roles[address.partition("/")[0]])
        checkpoint.wake(resident, store)
        _add(final, resident)
    return final.total


def _add(final: Fingerprint, resident: Resident) -> None:
    if resident.turns or resident.agent is not None:
        final.state(resident.address, resident.sequence, resident.turns, resident.draws, _captured(resident))


def _captured(resident: Resident) -> bytes:
    if resident.agent is None:
        return b""
    try:
        return capture(resident.agent)
    except InvalidContent as error:
        raise InvalidContent(f"the state of {resident.address} cannot be saved: {error}") from error
