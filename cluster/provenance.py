"""Where a run came from: versions, commit and machine, so that it can be made again.

Rule: nothing of the environment's variables, the user or the network is read. A manifest can be published as it is.
"""

import os
import platform
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

DISTRIBUTIONS = ("rayswarm", "ray", "msgspec", "numpy", "pydantic", "polars")


def versions() -> dict[str, str]:
    """The version of Python and of what decides a run's outcome or speed."""
    found = {"python": platform.python_version()}
    for name in DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def machine() -> dict[str, Any]:
    """Processors that this process may use, memory in bytes, and the platform."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpus": cpus,
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "platform": f"{sys.platform} {platform.machine()}",
        "system": platform.platform(terse=True),
    }


def git_commit(folder: Path) -> dict[str, Any] | None:
    """The commit that a folder is at, and whether files differ from it. None outside a repository or without git."""
    git = shutil.which("git")
    if git is None:
        return None
    commit = _git(git, folder, "rev-parse", "HEAD")
    changes = _git(git, folder, "status", "--porcelain", "--untracked-files=no")
    return None if commit is None else {"commit": commit, "changed": bool(changes)}


def _git(git: str, folder: Path, *arguments: str) -> str | None:
    done = subprocess.run(  # noqa: S603  # a fixed program with fixed arguments, found on the path
        [git, "-C", str(folder), *arguments], capture_output=True, text=True, timeout=30, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else None
