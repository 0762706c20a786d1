"""Programs that use Ray, each run by a test in a process of its own, with a Ray of its own.

Ray reads its environment when it is imported, so what a test sets must be there before.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from textwrap import dedent

PREAMBLE = """
import asyncio, os, sys
from pathlib import Path
import ray
from actors import ConfigurationError, JournalSettings, Limits, Plan, Role, Swarm
from actors.ray_session import ray_session
from tests.actors import cast
from tests.actors.ray_here import RAY_OPTIONS

NODE = {"num_cpus": 2, "include_dashboard": False, "object_store_memory": 100 * 2**20}

async def answer(plan, address=None, **options):
    async with Swarm.on_ray(plan, address, **options) as swarm:
        return (await swarm.ask("echo", "hello")).text
"""


def run_program(
    text: str, *, preamble: str = PREAMBLE, timeout_s: float = 120.0, **environment: str
) -> list[str]:
    """Runs a program; returns the lines that it prints."""
    # Short, since socket paths hold 107 bytes; `ray` within, since Ray records clusters there.
    folder = tempfile.mkdtemp(prefix="r")
    Path(folder, "ray").mkdir()
    own = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "RAY_TMPDIR": folder}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    path = os.pathsep.join(filter(None, [str(Path.cwd()), os.environ.get("PYTHONPATH", "")]))
    try:
        done = subprocess.run(
            [sys.executable, "-c", preamble + dedent(text)],
            env={**kept, **own, "PYTHONPATH": path, **environment},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()
