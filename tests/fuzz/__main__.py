"""`python -m tests.fuzz --seconds 300 --seed 1`: fuzz, print what was done, write crashes; exit status 1 if any."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

_SLICE_S = 5.0  # targets take turns
_DAY_S = 86_400


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__, allow_abbrev=False)
    parser.add_argument("--seconds", default="300", help="how long, not counting compilation")
    parser.add_argument("--seed", default="1", help="where the random numbers start")
    parser.add_argument("--targets", default="switch,worker,server,system", help="which of these, by commas")
    parser.add_argument("--results", type=Path, default=Path("results"), help="crashes go to RESULTS/fuzz")
    parser.add_argument("--keep", action="store_true", help="add what was found to the corpus in the repository")
    options = parser.parse_args(arguments)
    for name, low, high in (("seconds", 1, _DAY_S), ("seed", 0, 2**63 - 1)):
        text = getattr(options, name)
        if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
            print(f"fuzz: {name.upper()}={text}: a whole number from {low} to {high}", file=sys.stderr)
            raise SystemExit(2)
        setattr(options, name, int(text))
    return options


def main(arguments: list[str] | None = None) -> int:
    options = _arguments(arguments)
    from tests.fuzz import coverage, loop, machines  # slow to import, and arguments come first

    classes = {t.name: t for t in loop.TARGETS}
    names = options.targets.split(",")
    if unknown := [name for name in names if name not in classes]:
        print(f"fuzz: TARGETS={unknown[0]}: one of {', '.join(classes)}", file=sys.stderr)
        return 2
    print(f"fuzz: seed {options.seed}, {options.seconds} s; the first run compiles for some minutes", flush=True)
    machines.counted(), machines.shipped(), machines.plain()
    campaigns = [loop.Campaign(classes[n](), np.random.default_rng([options.seed, k])) for k, n in enumerate(names)]
    interrupted = False
    try:
        for campaign in campaigns:
            campaign.run(campaign.target.genuine[:0])
            for _, steps in loop.load(campaign.target.name):
                campaign.run(steps)
        end = time.monotonic() + options.seconds
        while time.monotonic() < end:
            for campaign in campaigns:
                left = (end - time.monotonic()) / len(campaigns)
                campaign.fuzz(time.monotonic() + min(_SLICE_S, max(left, 0.1)))
    except KeyboardInterrupt:
        interrupted = True
    print(f"{'target':<10}{'executions':>12}{'per second':>12}{'branches':>10}{'corpus':>8}{'crashes':>9}")
    crashes: list[Path] = []
    for c in campaigns:
        crashes += loop.write_crashes(c, options.results / "fuzz", options.seed)
        rate = c.executions / c.seconds if c.seconds else 0.0
        taken = f"{np.count_nonzero(c.reached)}"
        print(f"{c.target.name:<10}{c.executions:>12,}{rate:>12,.0f}{taken:>10}{len(c.inputs):>8}{len(c.crashes):>9}")
        if options.keep:
            loop.keep(c.target.name, c.minimal())
    reached = np.bitwise_or.reduce([c.reached for c in campaigns])
    total = sum(c.executions for c in campaigns)
    print(
        f"{'interrupted after ' if interrupted else ''}{total:,} executions, "
        f"{np.count_nonzero(reached)} of {coverage.branches()} branches, {len(crashes)} crashes"
    )
    for path in crashes:
        print(f"crash: {path}")
    return 1 if crashes else 0


if __name__ == "__main__":
    sys.exit(main())
