"""A Ray of the benchmark's own: started for it, on this machine, in a temporary folder, and ended after it.

A benchmark must not be slowed by, nor slow down, a cluster that is used for something else.
"""

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

_OBJECT_STORE_BYTES = 100 * 2**20
"""Messages travel inside the calls; Ray's default would take a third of the machine's memory."""


@contextmanager
def own_ray(cpus: int) -> Iterator[None]:
    """Starts Ray with so many CPUs and ends it afterwards. A swarm made meanwhile joins it."""
    # Read by Ray when it is imported. No token: nothing but this machine reaches it, and it ends with the benchmark.
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray  # noqa: PLC0415  # after its environment is set

    # A short path: Ray's sockets lie in it, and a socket's path may have 107 characters.
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        ray.init(
            address="local",
            num_cpus=cpus,
            include_dashboard=False,
            object_store_memory=_OBJECT_STORE_BYTES,
            log_to_driver=False,
            logging_level=logging.WARNING,
            _temp_dir=folder,
        )
        try:
            yield
        finally:
            ray.shutdown(wait_for_processes=True)
