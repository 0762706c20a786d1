"""Bad disks at the level of a run: a clear error that names the file, and nothing lost once it is mended."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from actors import JournalSettings, Plan, Role, RunResult, Swarm, SwarmError
from actors.journal import JournalDamaged
from actors.virtual_clock import VirtualClockLoop
from tests.actors import cast

ROOT = Path(__file__).resolve().parents[2]
ROLES = {"gossip": Role(cast.Gossip, count=20, parameters={"peers": 20, "hops": 5}), "echo": Role(cast.Echo)}
SCHEDULES = pytest.mark.parametrize("schedule", ["rounds", "free"])


def plan_of(folder: Path | None, schedule: str = "rounds", **settings: Any) -> Plan:
    journal = None if folder is None else JournalSettings(folder, **{"checkpoint_every": None} | settings)
    return Plan(ROLES, 3, schedule, 2, "bad", journal=journal)  # type: ignore[arg-type]  # one of two schedules


async def first_half(plan: Plan) -> None:
    swarm = Swarm.local(plan)
    await swarm.start()
    await swarm.begin([("gossip/*", "go" if plan.schedule == "rounds" else 3)])
    await swarm.run(rounds=4, timeout_s=0.1)
    await swarm.stop(in_good_order=False)


async def second_half(plan: Plan) -> RunResult:
    async with Swarm.local(plan) as swarm:
        await swarm.begin([("gossip/*", "go" if plan.schedule == "rounds" else 3)])
        return await swarm.run()


def run(main: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        return runner.run(main)


def whole(schedule: str) -> RunResult:
    return run(second_half(plan_of(None, schedule)))


def segment_of(folder: Path, cell: int = 1) -> Path:
    return sorted((folder / f"cell-{cell:04d}").glob("*.log"))[-1]


@SCHEDULES
@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_a_flipped_bit_is_a_clear_error_and_flipped_back_the_run_goes_on(
    tmp_path: Path, schedule: str, share: float
) -> None:
    plan = plan_of(tmp_path, schedule)
    run(first_half(plan))
    segment = segment_of(tmp_path)
    written = bytearray(segment.read_bytes())
    place = int(len(written) * share)
    written[place] ^= 0x10
    segment.write_bytes(written)
    for _ in range(2):  # Trying changes nothing.
        with pytest.raises(JournalDamaged, match=rf"{segment}: offset .* expected .* Restore this file"):
            run(second_half(plan))
    assert segment.read_bytes() == written
    written[place] ^= 0x10
    segment.write_bytes(written)
    result = run(second_half(plan))
    assert result.quiet
    assert result.messages == whole(schedule).messages or schedule == "free"
    assert result.fingerprint == whole(schedule).fingerprint


@SCHEDULES
def test_a_torn_tail_is_cut_and_told_in_the_recoveries(tmp_path: Path, schedule: str) -> None:
    plan = plan_of(tmp_path, schedule)
    run(first_half(plan))
    with segment_of(tmp_path, cell=0).open("ab") as segment:
        segment.write(b"\x99\x00\x00\x00half a record")
    result = run(second_half(plan))
    torn = {recovery["cell"]: recovery["torn_bytes"] for recovery in result.recoveries}
    assert torn == {0: 17, 1: 0}
    assert result.fingerprint == whole(schedule).fingerprint


def test_a_journal_that_another_process_writes_is_not_touched(tmp_path: Path) -> None:
    async def main() -> None:
        plan = plan_of(tmp_path)
        async with Swarm.local(plan):
            with pytest.raises(SwarmError, match="writes this journal"):
                await first_half(plan)

    run(main())
    assert run(second_half(plan_of(tmp_path))).fingerprint == whole("rounds").fingerprint


PROGRAM = """
import json, resource, signal, sys
from dataclasses import replace
from pathlib import Path
from actors import Limits, SwarmError
from tests.actors import test_bad_journal as t

folder, schedule, every, limit = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]), int(sys.argv[4])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    result = t.run(t.second_half(t.plan_of(folder, schedule, checkpoint_every=every)))
    print(json.dumps({"fingerprint": result.fingerprint, "quiet": result.quiet, "messages": result.messages}))
except SwarmError as error:
    print(json.dumps({"error": f"{type(error).__name__}: {error}"}))
"""


def run_with_room(folder: Path, schedule: str, every: int | None, limit: int) -> dict[str, Any]:
    """The same command in a process of its own, whose files may have so many bytes."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, folder, schedule, json.dumps(every), str(limit)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == ""
    return dict(json.loads(done.stdout.splitlines()[-1]))


@SCHEDULES
@pytest.mark.parametrize("every", [None, 2])
def test_a_full_disk_ends_the_run_by_naming_the_journal_and_with_room_it_goes_on(
    tmp_path: Path, schedule: str, every: int | None
) -> None:
    expected = whole(schedule)
    ends = [run_with_room(tmp_path, schedule, every, limit) for limit in (3_000, 9_000, 25_000)]
    errors = [end["error"] for end in ends if "error" in end]
    assert len(errors) >= 2
    for error in errors:
        assert re.search(r"cell-000\d/\S+: .*(no room|disk)", error), error
    assert segment_of(tmp_path).stat().st_size <= 25_000
    result = run_with_room(tmp_path, schedule, every, 0)
    assert result["quiet"]
    assert result["fingerprint"] == expected.fingerprint
