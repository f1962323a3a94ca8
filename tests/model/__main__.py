"""`make model`: random episodes until so many all-reduces are checked; a failing one is cut short, printed and kept."""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import time
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path

from experiments.common.processes import local_executor
from tests.model.schedule import EpisodeError, Report, episode, episodes

CHUNK = 10  # episodes per task


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.model", description=__doc__)
    parser.add_argument("--all-reduces", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=None, help="of the first episode; default: a new one")
    parser.add_argument("--episode", type=int, default=None, help="run this one alone")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--results", type=Path, default=Path("results"))
    options = parser.parse_args()
    report = Report()
    try:
        if options.episode is not None:
            report.add(episode(options.episode))
        else:
            _run(options, report)
    except EpisodeError as failed:
        kept = options.results / "model" / f"{str(failed).split(':')[0].replace(' ', '-')}.txt"
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(f"{failed}\n")
        print(f"{failed}\nkept in {kept}", flush=True)
        return 1
    except KeyboardInterrupt:
        print(f"interrupted; every sum exact until then, nothing hung: {report}", flush=True)
        return 130
    print(f"every sum exact, nothing hangs: {report}")
    return 0


def _run(options: argparse.Namespace, report: Report) -> None:
    first = secrets.randbelow(10**9) if options.seed is None else options.seed
    print(f"model: {options.all_reduces} all-reduces, episodes from seed {first}", flush=True)
    report.add(episode(first))  # compiles, once for all processes
    last = time.monotonic()
    following = first + 1
    with local_executor(options.processes) as executor:
        running: set[Future[Report]] = set()
        while report.numbers["all-reduces"] < options.all_reduces:
            while len(running) < 2 * options.processes:
                running.add(executor.submit(episodes, following, CHUNK))
                following += CHUNK
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                report.merge(future.result())
            if time.monotonic() - last > 10:
                last = time.monotonic()
                print(f"  {report.numbers['all-reduces']} all-reduces", flush=True)
        executor.shutdown(cancel_futures=True)


if __name__ == "__main__":
    sys.exit(main())
