"""Inference as commands: `esa serve`, `vidur-bench`, `search`, `together`, `fastserve`, `exegpt`, `kv`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from esa.errors import BadInput
from esa.exits import commands, interruptible

app = typer.Typer(cls=commands("esa"), no_args_is_help=True, add_completion=False, rich_markup_mode=None)


@app.command("serve")
def serve_command(
    scenario: Annotated[Path, typer.Argument(metavar="SCENARIO.toml")],
    scheduler: Annotated[
        str | None, typer.Option(help="one or several, separated by commas, runs one after the other")
    ] = None,
    carrier: Annotated[
        str | None, typer.Option(help="of [network], in place of the scenario's: one or several, separated by commas")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="of lengths, arrivals and random routing")] = None,
    results: Annotated[Path, typer.Option(help="folder for the runs' folders")] = Path("results"),
    draw: Annotated[bool, typer.Option("--draw", help="a picture: who waits over time, how long tokens take")] = False,
) -> None:
    """Serve requests to a language model in virtual time; docs/serving.md."""
    from experiments.common.folders import make_folder
    from experiments.serving.run import run_serving, serving_table
    from experiments.specs.serving import ServingScenario

    schedulers, carriers = (
        [None] if names is None else [name.strip() for name in names.split(",")] for names in (scheduler, carrier)
    )
    scenarios = [
        ServingScenario.load(scenario, scheduler=one, seed=seed).carried_by(other)
        for other in carriers
        for one in schedulers
    ]
    make_folder(results)
    console = Console()
    with interruptible("what was simulated until then is kept"):
        for chosen in scenarios:
            summary, folder = run_serving(chosen, scenario.parent, results, console, draw=draw)
            console.print(serving_table(summary))
            console.print(f"results: {folder}", highlight=False, soft_wrap=True)
            if summary.incomplete is not None:
                raise KeyboardInterrupt


@app.command("fastserve")
def fastserve_command(
    seeds: Annotated[int, typer.Option(min=2, max=1000, help="of lengths and arrivals")] = 10,
    requests: Annotated[int, typer.Option(min=10, max=100_000, help="of each run")] = 1000,
) -> None:
    """Print FastServe's latency beside other orders' and ways to swap, over seeds; docs/serving.md."""
    from experiments.serving.study import print_study

    print_study(seeds, requests, Console())


@app.command("together")
def together_command(
    scenario: Annotated[Path, typer.Argument(metavar="SCENARIO.toml")],
    carriers: Annotated[str, typer.Option(help="separated by commas")] = "esa,atp,switchml,ps,ring,halving-doubling",
    rows: Annotated[str | None, typer.Option(help="of each switch, separated by commas")] = None,
    tp: Annotated[str | None, typer.Option(help="degrees of tensor parallelism, separated by commas")] = None,
    scheduler: Annotated[str | None, typer.Option(help="in place of the scenario's")] = None,
    seeds: Annotated[int, typer.Option(min=2, max=1000, help="of lengths and arrivals")] = 3,
) -> None:
    """Print who slows whom, inference and training on one network, by how sums are made; without training jobs how
    long requests take. docs/serving.md.
    """
    from experiments.serving.together_study import print_together
    from experiments.specs.serving import ServingScenario

    loaded = ServingScenario.load(scenario, scheduler=scheduler)
    own = loaded.network
    with interruptible("nothing is kept"):
        print_together(
            loaded,
            scenario.parent,
            [name.strip() for name in carriers.split(",")],
            _numbers("--rows", rows, 1024 if own is None else own.rows),
            _numbers("--tp", tp, loaded.replicas.tp),
            seeds,
            Console(),
        )


def _numbers(option: str, text: str | None, otherwise: int) -> list[int]:
    """BadInput for what is no number."""
    parts = [str(otherwise)] if text is None else text.split(",")
    for part in parts:
        if not part.strip().isdigit():
            raise BadInput(f"{option}: '{part.strip()}'; allowed: whole numbers, separated by commas")
    return [int(part) for part in parts]


@app.command("search")
def search_command(
    spec: Annotated[Path, typer.Argument(metavar="SEARCH.toml")],
    also: Annotated[
        str | None, typer.Option(help="other lengths, separated by commas: what each cheapest costs under the others")
    ] = None,
    processes: Annotated[int, typer.Option(min=1, max=256, help="configurations that are run side by side")] = 1,
    results: Annotated[Path, typer.Option(help="folder for the runs' folders")] = Path("results"),
) -> None:
    """Find the configuration that serves the most requests for a dollar within limits; docs/serving.md."""
    from experiments.common.folders import make_folder
    from experiments.serving.across import run_across, specs_of
    from experiments.serving.search import run_search, space_of
    from experiments.specs.search import SearchSpec

    loaded = SearchSpec.load(spec)
    space_of(loaded)
    others = [] if also is None else [name.strip() for name in also.split(",")]
    specs_of(loaded, others)
    make_folder(results)
    console = Console()
    with interruptible("what was found until then is kept"):
        if others:
            console = Console(width=max(console.width, 140))
            _, folder, cut = run_across(loaded, others, results, console, processes)
        else:
            _, folder, cut = run_search(loaded, results, console, processes)
        console.print(f"results: {folder}", highlight=False, soft_wrap=True)
        if cut:
            raise KeyboardInterrupt


@app.command("vidur-bench")
def bench_command(
    spec: Annotated[Path, typer.Argument(metavar="BENCH.toml")],
    processes: Annotated[int, typer.Option(min=1, max=256, help="runs side by side")] = 1,
    seeds: Annotated[int | None, typer.Option(min=2, max=1000, help="in place of the file's")] = None,
    results: Annotated[Path, typer.Option(help="folder for the runs' folders")] = Path("results"),
) -> None:
    """Run schedulers under workloads, over seeds, and print what each of Vidur's metrics comes to; docs/serving.md."""
    from experiments.common.folders import make_folder
    from experiments.serving.bench import run_bench
    from experiments.specs.serving_bench import ServingBench

    loaded = ServingBench.load(spec)
    if seeds is not None:
        loaded = loaded.model_copy(update={"seeds": seeds})
    make_folder(results)
    console = Console(width=max(Console().width, 170))  # a wrapped table is hard to read
    with interruptible("what was simulated until then is kept"):
        _, folder, cut = run_bench(loaded, results, console, processes)
        console.print(f"results: {folder}", highlight=False, soft_wrap=True)
        if cut:
            raise KeyboardInterrupt


@app.command("exegpt")
def exegpt_command(
    model: Annotated[str, typer.Option(help="that is served")] = "opt-13b",
    gpu: Annotated[str, typer.Option(help="on which")] = "a40",
    gpus: Annotated[int, typer.Option(min=1, max=64, help="how many")] = 4,
    task: Annotated[str, typer.Option(help="exegpt-s, -t, -g, -c1 or -c2")] = "exegpt-s",
    limits: Annotated[str, typer.Option(help="on latency, seconds, separated by commas")] = "4,6,8,12,inf",
    tp: Annotated[str, typer.Option(help="degrees of tensor parallelism that are timed")] = "1,2,4",
    profile: Annotated[Path | None, typer.Option(help="times of layers, in place of this project's")] = None,
    write_profile: Annotated[Path | None, typer.Option(help="where times of layers go")] = None,
    table_6: Annotated[
        bool, typer.Option("--table-6", help="ExeGPT's Table 6 and what the profile predicts, OPT-13B on four A40")
    ] = False,
) -> None:
    """Print ExeGPT's best plan under each limit on latency; docs/serving.md."""
    from esa.serving.exegpt.profiler import measured_profile, read_profile
    from esa.serving.exegpt.scheduler import Cluster
    from experiments.common.folders import write_whole
    from experiments.serving.exegpt import TABLE_6_CLUSTER, TABLE_6_TASK, print_plans, print_table_6

    degrees = [one for one in _numbers("--tp", tp, 1) if one <= gpus]
    seconds = _seconds("--limits", limits)
    known = measured_profile(model, gpu, degrees) if profile is None else read_profile(profile)
    console = Console(width=max(Console().width, 150))
    if table_6:
        if (model, gpu, gpus, task) != (*TABLE_6_CLUSTER[:3], TABLE_6_TASK):
            raise BadInput(f"--table-6: {gpus} {gpu}, {model}, {task}; allowed: 4 a40, opt-13b, exegpt-s, by default")
        print_table_6(known, console)
    else:
        print_plans(known, Cluster(model, gpu, gpus), task, seconds, console)
    if write_profile is not None:
        write_whole(write_profile, known.text())
        console.print(f"profile: {write_profile}", highlight=False, soft_wrap=True)


def _seconds(option: str, text: str) -> list[float]:
    """BadInput for what is no number above 0."""
    found = []
    for part in text.split(","):
        try:
            found.append(float(part))
        except ValueError:
            raise BadInput(f"{option}: '{part.strip()}'; allowed: seconds, separated by commas") from None
    return found


@app.command("kv")
def kv_command(
    scenario: Annotated[Path, typer.Argument(metavar="SCENARIO.toml")],
    seeds: Annotated[int, typer.Option(min=2, max=1000, help="of lengths and arrivals")] = 10,
    results: Annotated[Path, typer.Option(help="folder for the runs' folders")] = Path("results"),
    jobs: Annotated[int | None, typer.Option(min=1, help="processes; one per core by default")] = None,
) -> None:
    """Draw JCT by rate of the NICs where prefill and decode are apart, by method of KV cache; docs/laboratory.md."""
    from experiments.common.folders import make_folder
    from experiments.serving.kv import draw_kv
    from experiments.specs.kv import KvScenario

    loaded = KvScenario.load(scenario)
    make_folder(results)
    draw_kv(loaded, seeds, results, jobs, Console(width=max(Console().width, 130)))
