"""A rank is forked from a process that has imported PyTorch, and is what `python SCRIPT` would have been."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from topologies.launcher.forks import Forks
from topologies.launcher.ranks import start_forks
from topologies.record import RackHost

TELL = """
import atexit, json, multiprocessing, os, pickle, signal, sys, threading
import numpy as np
def double(x):
    return 2 * x
if __name__ == "__main__":
    main = sys.modules["__main__"]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        doubled = pool.map(double, [3])
    print(json.dumps({
        "file": __file__, "spec": bool(__spec__), "package": __package__, "cached": globals().get("__cached__"),
        "names": sorted(set(globals()) - {"np"}), "own": main.double is double, "doubled": doubled,
        "argv": sys.argv, "path": sys.path, "cwd": os.getcwd(), "threads": threading.active_count(),
        "signals": {n.name: str(signal.getsignal(n)) for n in signal.Signals if n.name not in ("SIGKILL", "SIGSTOP")},
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "parent": str(multiprocessing.parent_process()), "daemon": multiprocessing.current_process().daemon,
        "streams": [(s.line_buffering, s.write_through, s.encoding, s.errors) for s in (sys.stdout, sys.stderr)],
        "topologies": "topologies" in sys.modules, "session": os.getsid(0) == os.getpid(), "umask": os.umask(0),
        "fds": sorted(set(map(int, os.listdir("/proc/self/fd"))) & set(range(20)))[:3],
    }))
    print(np.random.random(), file=sys.stderr)
    atexit.register(print, "at the end")
"""
RAISE = """
import sys
import numpy
def fail(how):
    exec(how)
fail(sys.argv[1])
"""


@pytest.fixture
def host(root: None, request: pytest.FixtureRequest) -> Iterator[RackHost]:
    """A network namespace, and a file of its own in /etc."""
    name = f"esa-forking-{os.getpid()}"
    files = Path("/etc/netns") / name
    subprocess.run(["ip", "netns", "add", name], check=True, timeout=30)
    files.mkdir(parents=True)
    (files / "hosts").write_text("10.9.8.7 somewhere\n")
    yield RackHost.model_construct(name="h1", namespace=name)
    subprocess.run(["ip", "netns", "del", name], check=True, timeout=30)
    (files / "hosts").unlink()
    files.rmdir()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "tell.py").write_text(TELL)
    (tmp_path / "scripts" / "raise.py").write_text(RAISE)
    (tmp_path / "scripts" / "topologies.py").write_text("print('the script has one of its own')\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def both(host: RackHost, words: list[str], module: bool = False, ranks: int = 1) -> list[tuple[int, str, str]]:
    """Status, stdout and stderr of `python` and of ranks."""
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    command = ["ip", "netns", "exec", host.namespace, sys.executable, *(["-m"] if module else []), *words]
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
        start_new_session=True, check=False,
    )  # fmt: skip
    found = [(done.returncode, done.stdout, done.stderr)]
    forks = Forks(words, module=module, environment=environment)
    try:
        while not forks.ready(0.1):
            pass
        forked = [forks.fork(host, {"RANK": str(rank)}, None) for rank in range(ranks)]
        for process in forked:
            with process.stdout, process.stderr:
                out, err = process.stdout.read().decode(), process.stderr.read().decode()
            found.append((process.wait(), out, err))
    finally:
        forks.close()
    return found


@pytest.mark.parametrize("module", [False, True], ids=["script", "module"])
def test_a_rank_is_what_python_makes_of_the_script(host: RackHost, folder: Path, module: bool) -> None:
    words = ["scripts.tell" if module else "scripts/tell.py", "--lr", "0.1"]
    alone, *ranks = both(host, words, module, ranks=2)
    assert alone[0] == 0, alone[2]
    expected = json.loads(alone[1].splitlines()[0])
    for status, out, err in ranks:
        assert status == 0, err
        assert json.loads(out.splitlines()[0]) == expected
        assert out.splitlines()[1:] == ["at the end"]
    assert len({err for _, _, err in ranks}) == 2, "each draws numbers of its own"


@pytest.mark.parametrize(
    "how", ["1 / 0", "raise KeyboardInterrupt", "sys.exit('no')", "sys.exit(3)", "import os; os.abort()"]
)
def test_it_ends_as_python_does_and_its_trace_begins_with_the_script(host: RackHost, folder: Path, how: str) -> None:
    alone, rank = both(host, ["scripts/raise.py", how])
    assert rank == alone


def test_it_is_on_its_host_and_has_its_own_topologies(host: RackHost, folder: Path) -> None:
    text = "import os, numpy, topologies\nprint(open('/etc/hosts').read().strip(), os.listdir('/sys/class/net'))\n"
    (folder / "scripts" / "where.py").write_text(text)
    alone, rank = both(host, ["scripts/where.py"])
    assert rank == alone
    assert rank[1].splitlines() == ["the script has one of its own", "10.9.8.7 somewhere ['lo']"]


def test_what_the_script_imports_of_torch_is_there_when_a_rank_begins(host: RackHost, folder: Path) -> None:
    text = "import sys\nthere = set(sys.modules)\nimport torch\nprint('torch' in there, 'esa.hosts.worker' in there)\n"
    (folder / "scripts" / "early.py").write_text(text + "# by esa\n")
    assert [out for _, out, _ in both(host, ["scripts/early.py"])] == ["False False\n", "True True\n"]


def test_what_training_imports_is_there_as_well(host: RackHost, folder: Path) -> None:
    """Also what PyTorch imports late: the first optimiser brings its compiler along."""
    text = "import sys\nthere = set(sys.modules)\nimport torch, sklearn.datasets\n"
    text += "torch.optim.SGD([torch.zeros(1)]).zero_grad()\nlate = {'torch._dynamo', 'sklearn.datasets'}\n"
    text += "print(len(late & there), len(late & set(sys.modules)))\n"
    (folder / "scripts" / "training.py").write_text(text)
    assert [out for _, out, _ in both(host, ["scripts/training.py"])] == ["0 2\n", "2 2\n"]


def test_any_other_program_is_started_as_it_is() -> None:
    assert start_forks(SimpleNamespace(), ["true"], module=False) is None  # type: ignore[arg-type]


def test_ranks_go_with_the_process_that_they_are_forked_from(host: RackHost, folder: Path) -> None:
    (folder / "scripts" / "wait.py").write_text("import os, time\nprint(os.getppid(), flush=True)\ntime.sleep(1000)\n")
    forks = Forks(["scripts/wait.py"], module=False, environment=os.environ)
    try:
        while not forks.ready(0.1):
            pass
        rank = forks.fork(host, {}, None)
        with rank.stdout, rank.stderr:
            server = int(rank.stdout.readline())
            assert rank.poll() is None
            os.kill(server, signal.SIGKILL)
            assert rank.stdout.read() == b"", "its end of the pipe is closed: it has ended"
        assert rank.wait() == -signal.SIGKILL
        with pytest.raises(ChildProcessError, match="ended with status -9"):
            forks.fork(host, {}, None)
    finally:
        forks.close()
