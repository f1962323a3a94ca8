"""The laboratory's studies as commands: `esa levels`, `esa schedulers`, `esa gpu`, `esa gaps`, `esa perplexity`,
`esa laboratory`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from esa.exits import commands, with_default

app = typer.Typer(cls=commands("esa"), no_args_is_help=True, add_completion=False, rich_markup_mode=None)
_RESULTS = Annotated[Path, typer.Option(metavar="DIR", help="Where results are written.")]
_JOBS = Annotated[int | None, typer.Option(min=1, help="Processes; one per core by default.")]
_SCENARIO = Path("experiments/scenarios/cluster/network.toml")
_STACK = Path("experiments/scenarios/laboratory/stack.toml")


@app.command("levels")
def levels_command(
    seeds: Annotated[int, typer.Option(min=1, max=100, help="How often the map's jobs are drawn.")] = 1,
    results: _RESULTS = Path("results"),
    jobs: _JOBS = None,
) -> None:
    """Print how far iteration times by formula and by flows are from those by packets, over a map."""
    from experiments.laboratory.error_map import print_levels

    print_levels(seeds, results, jobs)


@app.command("schedulers")
def schedulers_command(
    scenario: Annotated[Path, typer.Argument(metavar="[SCENARIO.toml]", help="With a [network].")] = _SCENARIO,
    scheduler: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Separated by commas; some by default.")
    ] = None,
    policy: Annotated[str | None, typer.Option(metavar="NAME,...", help="Switches'; all by default.")] = None,
    rows: Annotated[str | None, typer.Option(metavar="N,...", help="Of each switch.")] = None,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Of jobs and arrivals.")] = 3,
    results: _RESULTS = Path("results"),
    jobs: _JOBS = None,
) -> None:
    """Draw mean JCT by scheduler, switch policy and rows, timed by flows, and at some places by packets."""
    from experiments.laboratory.picture import draw_schedulers

    draw_schedulers(scenario, scheduler, policy, rows, seeds, results, jobs)


gpu = typer.Typer(
    cls=with_default("share"),
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Tasks that share a GPU, kernel by kernel: `esa gpu SCENARIO.toml`; a GPU's own kernels: `esa gpu profile`.",
)
app.add_typer(gpu, name="gpu")


@gpu.command("share")
def gpu_command(
    scenario: Annotated[Path, typer.Argument(metavar="SCENARIO.toml")],
    rule: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Separated by commas, runs one after the other.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of what is drawn.")] = None,
    surface: Annotated[
        bool, typer.Option("--surface", help="Besides, JCT by time slices over the rule's, by slice and switch cost.")
    ] = False,
    results: _RESULTS = Path("results"),
) -> None:
    """Let tasks share a GPU, kernel by kernel: FIKIT and other rules; docs/laboratory.md."""
    from rich.console import Console

    from experiments.common.folders import make_folder
    from experiments.laboratory.gpu import gpu_table, run_gpu
    from experiments.laboratory.gpu import surface as surface_table
    from experiments.specs.gpu import GpuScenario

    names = [None] if rule is None else [name.strip() for name in rule.split(",")]
    scenarios = [GpuScenario.load(scenario, rule=name, seed=seed) for name in names]
    make_folder(results)
    console = Console()
    for chosen in scenarios:
        summary, folder = run_gpu(chosen, scenario.parent, results)
        console.print(gpu_table(summary))
        console.print(f"results: {folder}", highlight=False, soft_wrap=True)
        if surface:
            console.print(surface_table(chosen, scenario.parent))


@gpu.command("profile")
def profile_command(
    model: Annotated[str, typer.Option(help="transformer or convolutions, with random weights.")] = "transformer",
    batch: Annotated[int, typer.Option(help="Samples of an iteration.")] = 4,
    iterations: Annotated[int, typer.Option(help="That are measured.")] = 50,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Of kernels; gaps go beside it.")] = Path(
        "results/kernels/transformer"
    ),
) -> None:
    """Measure a model's kernels and gaps on this machine's GPU (torch.profiler); without one it says so."""
    from rich.console import Console

    from experiments.laboratory.gpu_profile import profile_model

    profile_model(model, batch, iterations, out, Console())


@app.command("gaps")
def gaps_command(
    policy: Annotated[str, typer.Option(metavar="NAME,...", help="Switches'.")] = "esa,atp,switchml,ps",
    rows: Annotated[str, typer.Option(metavar="N,...", help="Of the switch.")] = "256,1024",
    seeds: Annotated[int, typer.Option(min=2, max=100, help="Of kernels and of when neighbours begin.")] = 10,
    kernel_us: Annotated[float, typer.Option(help="Median of the fillers' kernels.")] = 300.0,
    spread: Annotated[float, typer.Option(help="Deviation of their logarithm.")] = 0.5,
    ranks: Annotated[int, typer.Option(help="GPUs of the holder that are filled.")] = 1,
    iterations: Annotated[int, typer.Option(help="Of the holder that count.")] = 12,
    results: _RESULTS = Path("results"),
    jobs: _JOBS = None,
) -> None:
    """Fill a training's wait for gradients on the packet simulator: who is late, who waits; docs/laboratory.md."""
    from rich.console import Console

    from esa.errors import BadInput
    from experiments.laboratory.gaps import Setting, print_gaps

    counts = []
    for part in rows.split(","):
        if not part.strip().isdigit():
            raise BadInput(f"--rows: '{part.strip()}'; allowed: whole numbers, separated by commas")
        counts.append(int(part))
    setting = Setting(kernel_us, spread, ranks, iterations)
    names = [name.strip() for name in policy.split(",")]
    print_gaps(names, counts, seeds, setting, results, jobs, Console(width=max(Console().width, 160)))


@app.command("perplexity")
def perplexity_command(
    positions: Annotated[str, typer.Option(help="learned, or rotary, where folding fails.")] = "learned",
    steps: Annotated[int, typer.Option(help="Of training.")] = 300,
    windows: Annotated[int, typer.Option(help="That are decoded with each cache.")] = 4,
    seed: Annotated[int, typer.Option(help="Of weights and batches.")] = 1,
    results: _RESULTS = Path("results"),
) -> None:
    """Train a small model and say what KV caches of HACK and ZeroC cost it in perplexity; docs/laboratory.md."""
    from rich.console import Console

    from experiments.laboratory.perplexity import print_perplexity

    print_perplexity(positions, steps, windows, seed, results, Console(width=max(Console().width, 110)))


@app.command("laboratory")
def laboratory_command(
    scenario: Annotated[Path, typer.Argument(metavar="[SCENARIO.toml]", help="The stack.")] = _STACK,
    seeds: Annotated[
        int | None, typer.Option(min=2, max=100, help="Of everything that is drawn; 10, with --quick fewer.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer seeds and smaller loads.")] = False,
    results: _RESULTS = Path("results"),
    jobs: _JOBS = None,
) -> None:
    """Switch each layer of the stack off in turn, from scheduler to rows: where a second goes; docs/laboratory.md."""
    from rich.console import Console

    from experiments.laboratory.stack.command import draw_laboratory

    draw_laboratory(scenario, seeds, quick, results, jobs, Console(width=max(Console().width, 160)))
