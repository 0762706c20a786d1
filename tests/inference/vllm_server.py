"""vLLM's own OpenAI-compatible server as a process, for tests: on the CPU, offline, with a key, gone at the end."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

NAME = "tiny"
KEY = "sk-the-right-one"
READY_S = 240.0
BUSY_S = 30.0
_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "OMP_NUM_THREADS": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_API_KEY": KEY,
    "TORCHDYNAMO_DISABLE": "1",  # else the first log-probability waits half a minute for a compiler
}
_OPTIONS = {
    "--served-model-name": NAME,
    "--host": "127.0.0.1",
    "--kv-cache-memory-bytes": str(64 << 20),
    "--max-num-seqs": "16",
    "--tool-call-parser": "hermes",
    "--generation-config": "vllm",
    "--structured-outputs-config": '{"backend": "xgrammar", "disable_any_whitespace": true}',
}
_FLAGS = ("--enforce-eager", "--enable-auto-tool-choice", "--enable-prompt-tokens-details")


@contextmanager
def vllm_server(model: Path) -> Iterator[str]:
    """The address of a server of the model, without `/v1`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [
        part
        for option in (_OPTIONS | {"--model": str(model), "--port": str(port)}).items()
        for part in option
    ]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *options, *_FLAGS]
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(
            command,
            env=os.environ | _ENVIRONMENT,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            if not _ready(server, url):
                log.seek(0)
                raise AssertionError(
                    f"vLLM's server did not start:\n{log.read()[-4_000:].decode(errors='replace')}"
                )
            yield url
        finally:
            os.killpg(server.pid, signal.SIGKILL)  # its engine is a process of its own, in the same group
            server.wait()


def _ready(server: subprocess.Popen[bytes], url: str) -> bool:
    end = time.monotonic() + READY_S
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):  # noqa: S310  # our own address
                return True
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    return False


def wait_until(url: str, *, busy: bool) -> None:
    """Waits until the engine computes or holds a sequence, or until it has none."""
    end = time.monotonic() + BUSY_S
    while bool(_sequences(url)) != busy:
        assert time.monotonic() < end, f"after {BUSY_S:g} s the engine has {_sequences(url)} sequences"
        time.sleep(0.02)


def kill_engine(url: str) -> None:
    """Kills the engine of a server that this process started: the process below it."""
    (server,) = (child for child in psutil.Process().children() if url.rpartition(":")[2] in child.cmdline())
    for below in server.children(recursive=True):
        below.kill()


def _sequences(url: str) -> int:
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:  # noqa: S310  # our own address
        lines = answer.read().decode().splitlines()
    return sum(
        int(float(line.rpartition(" ")[2]))
        for line in lines
        if line.startswith(("vllm:num_requests_running{", "vllm:num_requests_waiting{"))
    )
