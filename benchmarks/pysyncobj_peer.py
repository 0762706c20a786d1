"""The peer of our Raft on Ray: pysyncobj, three processes on this machine, by its own published interface.

Rules: its replicas are real processes over TCP on the loopback, its log in memory, as ours; the process that leads
proposes (no client's hop). `default` is its configuration as it comes, `tuned` has its timers at a millisecond.
"""

import importlib.util
import json
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROCESSES = 3
_START_S = 20.0

# It runs in an interpreter of its own: pysyncobj brings no types, and must share no process with Ray.
_PROGRAM = """
import json, os, sys, threading, time
from pysyncobj import SyncObj, SyncObjConf, replicated

class Log(SyncObj):
    def __init__(self, address, partners, conf):
        super().__init__(address, partners, conf)
        self.count = 0

    @replicated
    def put(self, data):
        self.count += 1

os.nice(15)  # as Ray's workers are: a busy machine hurts both alike
address, partners, tuned, window, seconds, payload = json.loads(sys.argv[1])
settings = dict(appendEntriesPeriod=0.001, autoTickPeriod=0.001) if tuned else {}
log = Log(address, partners, SyncObjConf(dynamicMembershipChange=False, **settings))
until = time.monotonic() + 15
while log._getLeader() is None or not log.isReady():
    time.sleep(0.01)
    if time.monotonic() > until:
        sys.exit("no leader")
time.sleep(0.5)
if str(log._getLeader()) != address:
    time.sleep(seconds + 6)
    sys.exit(0)
data, done, errors, latencies, stop = "x" * payload, 0, 0, [], False
lock = threading.Lock()

def send():
    began = time.perf_counter()
    def answered(result, error):
        global done, errors
        if error:
            errors += 1
        else:
            done += 1
            latencies.append(time.perf_counter() - began)
        if not stop:
            send()
    log.put(data, callback=answered)

for _ in range(window):
    send()
time.sleep(1.0)
first, began, from_index = done, time.perf_counter(), len(latencies)
time.sleep(seconds)
rate = (done - first) / (time.perf_counter() - began)
measured = sorted(latencies[from_index:])
stop = True
median = measured[len(measured) // 2] if measured else None
print(json.dumps({"rate": rate, "p50_s": median, "errors": errors}), flush=True)
time.sleep(0.2)
os._exit(0)
"""


def is_installed() -> bool:
    """Whether pysyncobj can be measured here."""
    return importlib.util.find_spec("pysyncobj") is not None


def measure(*, tuned: bool, window: int, seconds: float, payload_bytes: int = 64) -> tuple[float, float]:
    """Commits a second and the median latency in seconds, with so many commands in flight."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "peer.py"
        program.write_text(_PROGRAM)
        addresses = [f"127.0.0.1:{port}" for port in _free_ports(PROCESSES)]
        processes = [
            subprocess.Popen(  # noqa: S603 - our own program, with our own arguments
                [
                    sys.executable,
                    str(program),
                    json.dumps([mine, others, tuned, window, seconds, payload_bytes]),
                ],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            for mine in addresses
            for others in [[other for other in addresses if other != mine]]
        ]
        try:
            return _answer_of(processes, time.monotonic() + _START_S + seconds)
        finally:
            for process in processes:
                process.kill()
                process.communicate()


def _answer_of(processes: list["subprocess.Popen[str]"], until: float) -> tuple[float, float]:
    while time.monotonic() < until:
        for process in processes:
            if process.poll() is not None and process.stdout is not None:
                text = process.stdout.read().strip()
                if text:
                    answer = json.loads(text.splitlines()[-1])
                    return float(answer["rate"]), float(answer["p50_s"])
        time.sleep(0.05)
    raise TimeoutError("pysyncobj elected no leader, or its leader gave no answer, in time")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
