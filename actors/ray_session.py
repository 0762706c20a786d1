"""Ray joined or started once, for as long as a block lasts.

Rules:
* Nothing touches Ray at import. Where this process has joined Ray already, that is used and left as it is.
* Without an address, the cluster that `RAY_ADDRESS` names is joined, else the one that `ray start` recorded in the
  default place, else one is started here. Only what was started here is ended.
* `ray.init` takes over SIGTERM; whoever handled it before gets it back.

Starting Ray takes seconds: a program that runs several swarms holds one session around all of them.
"""

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError

from actors.errors import ConfigurationError

_CONNECT_TIMEOUT_S = 5.0
_FOR_ANY_CLUSTER = {
    "log_to_driver",
    "logging_level",
    "logging_config",
    "namespace",
    "runtime_env",
    "_temp_dir",
}
"""The options that also hold for a cluster that is joined."""
_FOR_A_CLUSTER_STARTED_HERE = "existing cluster"
"""What Ray's error says if it joins a cluster but was given options of one to start."""


@dataclass(frozen=True)
class RaySession:
    """Ray, as this process has it."""

    dashboard: str | None
    """The address of the Ray dashboard, if it runs."""
    started_here: bool
    """True if the session started the cluster, and ends it."""


@contextmanager
def ray_session(address: str | None = None, options: Mapping[str, Any] | None = None) -> Iterator[RaySession]:
    """Joins or starts Ray, and at the end leaves it or ends it. `options` are of `ray.init`; those that size
    a cluster hold if one is started.

    Raises `ConfigurationError` if there is no Ray to be had at the address.
    """
    if ray.is_initialized():
        _check_joined(address)
        yield RaySession(_dashboard(), False)
        return
    try:
        started_here = _init(address or os.environ.get("RAY_ADDRESS") or None, dict(options or {}))
        yield RaySession(_dashboard(), started_here)
    finally:
        if ray.is_initialized():
            ray.shutdown(wait_for_processes=_started_here())


def _init(address: str | None, options: dict[str, Any]) -> bool:
    if address is not None and "://" in address:
        raise ConfigurationError(
            f"{address} is an address of Ray Client, by which cells cannot be called. Run on a node of the cluster and "
            f"give its address host:port, or submit the run: ray job submit --working-dir . -- rayswarm run FILE"
        )
    quiet = {"namespace": "rayswarm", "log_to_driver": False, "logging_level": logging.WARNING}
    starting = {**quiet, "include_dashboard": True, **options}
    joining = {**quiet, **{name: options[name] for name in _FOR_ANY_CLUSTER & options.keys()}}
    if address is None:
        recorded = ray._private.utils.read_ray_address(options.get("_temp_dir"))
        if recorded is not None and not _answers(recorded):
            address = "local"  # The record of a cluster that has crashed: Ray would try it for minutes.
    elif address not in ("local", "auto") and not _answers(address):
        raise ConfigurationError(
            f"nothing answers at {address}. Give the address of a Ray cluster, as host:port of its head (6379 unless "
            f"`ray start` was told otherwise), or 'local' to start one here."
        )
    with _sigterm_kept():
        try:
            if address not in (None, "local"):
                ray.init(address=address, **joining)
                return False
            try:
                ray.init(address=address, **starting)
            except ValueError as error:
                if _FOR_A_CLUSTER_STARTED_HERE not in str(error):
                    raise
                ray.init(address=address, **joining)
        except (ConnectionError, RayError, ValueError, RuntimeError) as error:
            raise ConfigurationError(
                f"cannot use the Ray cluster at {address or 'this machine'}: {error}. "
                f"Give the address of one that runs, or 'local' to start one here."
            ) from error
    return _started_here()


def _answers(address: str) -> bool:
    """Whether somebody listens at host:port."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_TIMEOUT_S):
            return True
    except (OSError, ValueError):
        return False


def _check_joined(address: str | None) -> None:
    """Ray joined before must be what was asked for."""
    present = ray.get_runtime_context().gcs_address
    if address not in (None, "local", "auto", present):
        raise ConfigurationError(
            f"this process has joined the Ray cluster at {present} already, and can join none at {address} beside it. "
            f"Leave the address out to use it, or call ray.shutdown() first."
        )


def _started_here() -> bool:
    node: Any = ray._private.worker._global_node  # Ray knows no more of its type than None.
    return node is not None and bool(node.head)


def _dashboard() -> str | None:
    url = ray._private.worker.get_dashboard_url()  # type: ignore[no-untyped-call]  # Ray leaves it untyped
    return f"http://{url}" if url else None


@contextmanager
def _sigterm_kept() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        # Where nobody handled it, Ray's handler stays: it ends the program in good order.
        if before not in (None, signal.SIG_DFL) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
