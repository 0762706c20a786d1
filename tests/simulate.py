"""Runs many seeds of the simulation: `python -m tests.simulate --seeds 10000`. A failing one tells how to replay it."""

import argparse
import sys
import time
import traceback

from tests.actors.simulation import simulate


def tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--start", type=int, default=0, help="the first")
    parser.add_argument("--schedule", choices=["rounds", "free", "both"], default="both")
    parser.add_argument("--keep-going", action="store_true", help="tell of all failures, not only the first")
    parser.add_argument("--verbose", action="store_true", help="tell what went wrong in each seed's world")
    options = parser.parse_args()
    schedules = ["rounds", "free"] if options.schedule == "both" else [options.schedule]
    failed, began, deaths = 0, time.monotonic(), 0
    for seed in range(options.start, options.start + options.seeds):
        for schedule in schedules:
            try:
                log = simulate(seed, schedule)
            except Exception:
                failed += 1
                tell(f"seed {seed}, {schedule}:\n{traceback.format_exc()}")
                if not options.keep_going:
                    return 1
                continue
            deaths += len(log)
            if options.verbose:
                tell(f"seed {seed}, {schedule}: {'; '.join(log) or 'nobody died'}")
    seconds = time.monotonic() - began
    tell(f"{options.seeds} seeds of {schedules}: {failed} failed, {deaths} deaths, {seconds:.1f} s")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
