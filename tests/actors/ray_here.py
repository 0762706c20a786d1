"""A Ray of the tests' own: its own temporary folder and ports, no authentication, nothing left behind."""

import os
import tempfile

os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # read when Ray is imported
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.pop("RAY_ADDRESS", None)

RAY_OPTIONS = {
    "num_cpus": 2,
    "include_dashboard": False,
    "object_store_memory": 100 * 2**20,
    # Ray's socket paths hold 107 bytes: pytest's own temporary folders are too deep.
    "_temp_dir": tempfile.mkdtemp(prefix="r"),
}
