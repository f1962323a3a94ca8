"""The project as others install it: a wheel, in an environment that has what one extra asks for and nothing else."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import esa
from tests.switches import running_switch

pytestmark = pytest.mark.slow  # it builds a wheel and installs it

ROOT = Path(__file__).parents[1]
PARTS = ("esa", "controller", "topologies", "experiments", "pyproject.toml", "README.md", "LICENSE")
ENVIRONMENT = {name: os.environ[name] for name in ("HOME", "PATH", "XDG_CACHE_HOME") if name in os.environ}
FOUND = "import importlib.util as u; print([n for n in ('grpc', 'p4', 'torch', 'rich') if u.find_spec(n)])"


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, capture_output=True, text=True, timeout=280, env=ENVIRONMENT
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("source")  # building writes into it
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, source / part)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", "dist", ".", cwd=source)
    return next((source / "dist").glob("esa-*.whl"))


def environment(folder: Path, wheel: Path, extras: Iterable[str]) -> Path:
    """Make a virtual environment with the wheel and links to what these extras need here; its folder of commands."""
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    commands = folder / "bin"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", commands / "python")
    run(*pip, "install", "-q", "--no-deps", "--no-index", wheel, cwd=folder)
    packages = next(folder.glob("lib/python3*/site-packages"))
    own = next(iter(importlib.metadata.distributions(name="esa", path=[str(packages)])))
    wanted = [(own, extra) for extra in ("", *extras)]
    seen: set[tuple[str, str]] = set()
    while wanted:
        distribution, extra = wanted.pop()
        for requirement in map(Requirement, distribution.requires or ()):
            if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
                continue
            for inner in ("", *requirement.extras):
                if (requirement.name, inner) not in seen:
                    seen.add((requirement.name, inner))
                    found = own if requirement.name == "esa" else importlib.metadata.distribution(requirement.name)
                    wanted.append((found, inner))
                    if found is not own:
                        _link(found, packages)
    return commands


def _link(distribution: importlib.metadata.Distribution, packages: Path) -> None:
    for part in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
        place = packages / part
        if not place.exists():
            place.symlink_to(distribution.locate_file(part))


def test_the_core_needs_three_packages(wheel: Path, tmp_path: Path) -> None:
    python = environment(tmp_path / "core", wheel, ()) / "python"
    assert run(python, "-c", FOUND, cwd=tmp_path) == "[]\n"
    assert (
        run(python, "-c", "import esa.sim, esa.hosts; print(esa.__version__)", cwd=tmp_path).strip() == esa.__version__
    )


def test_esactl_loads_the_program(wheel: Path, tmp_path: Path) -> None:
    esactl = environment(tmp_path / "control", wheel, ["control"]) / "esactl"
    with running_switch("embedded") as process:
        switch = ("--address", process.address, "--device-id", str(process.device_id))
        assert run(esactl, *switch, "load", cwd=tmp_path) == "loaded the 64-lane program, 8192 rows\n"


ALONE = """
import sys
import esa.switch.__main__
foreign = {"controller", "topologies", "experiments", "torch", "rich", "scipy"}
print(sorted({n.split(".")[0] for n in sys.modules} & foreign))
print(sorted(n for n in sys.modules if n.startswith(("esa.sim", "esa.protocol", "esa.hosts", "esa.job"))))
"""


def test_esa_switch_runs_a_strangers_program_with_its_own_extra_alone(wheel: Path, tmp_path: Path) -> None:
    commands = environment(tmp_path / "switch", wheel, ["switch"])
    assert run(commands / "python", "-c", FOUND, cwd=tmp_path) == "['grpc', 'p4']\n"
    assert run(commands / "python", "-c", ALONE, cwd=tmp_path) == "[]\n[]\n"
    router = next(commands.parent.glob("lib/*/site-packages/experiments/examples/router/router.json"))
    command = [commands / "esa-switch", router, "--", "--grpc-server-addr", f"unix:{tmp_path}/p4runtime"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=ENVIRONMENT) as process:
        assert process.stdout is not None
        ready = process.stdout.readline()
        process.terminate()
        assert process.wait(60) == 0
    assert ready == f"esa-switch: device 0 ready, P4Runtime at unix:{tmp_path}/p4runtime, ports none\n"


SCENARIO = """
name = "small"
aggregators = 64

[network]
hosts = 3
rate = "10 Gb/s"

[job_defaults]
iterations = 2
scale = 0.001
window = 16

[[jobs]]
name = "one"
model = "communication-heavy"
workers = 2
"""


def test_esa_sim_simulates_without_grpc_and_torch(wheel: Path, tmp_path: Path) -> None:
    commands = environment(tmp_path / "sim", wheel, ["sim"])
    assert run(commands / "python", "-c", FOUND, cwd=tmp_path) == "['rich']\n"
    (tmp_path / "small.toml").write_text(SCENARIO)
    run(commands / "esa", "sim", "small.toml", "--results", "results", cwd=tmp_path)
    (summary,) = tmp_path.glob("results/*/summary.json")
    (job,) = json.loads(summary.read_text())["jobs"]
    assert job["jct_s"] > 0
    assert job["fragments"] > 0
