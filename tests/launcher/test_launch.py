"""Ranks get what torchrun would give them and more, say who they are, and are gone afterwards, however it ended."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from controller import Controller, Switch
from esa.errors import BadInput
from esa.metrics.serving import listening
from tests.launcher.rig import COMMAND, LIMIT_S, Up, bring_up, esa, esactl, refused
from tests.metrics.asking import asked, values
from topologies import record

pytestmark = pytest.mark.timeout(240)


def jobs(rack: Up) -> list[int]:
    switch = rack.record.switch
    assert switch is not None
    with Switch.connect(switch.address, switch.device_id) as client:
        return [job.job for job in Controller(client).jobs()]


def marked(launch: str) -> list[int]:
    """Processes of a launch, by what is in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"ESA_LAUNCH={launch}".encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def nothing_left(rack: Up, job: str) -> None:
    assert marked(f"{rack.name}/{job}") == []
    assert jobs(rack) == []
    assert list((rack.record.folder / "launches").iterdir()) == []


def script(tmp_path: Path, text: str, name: str = "train.py") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def start(rack: Up, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, "launch", "--rack", rack.name, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def first_lines(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdout is not None
    return sorted(process.stdout.readline().rstrip() for _ in range(count))


TELL = """
import json, os, socket, sys
names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "GLOO_SOCKET_IFNAME",
         "OMP_NUM_THREADS", "ESA_JOB", "ESA_CONTROLLER")
told = {name: os.environ.get(name) for name in names}
told["me"] = socket.gethostbyname(socket.gethostname())
told["h3"] = socket.gethostbyname("h3")
told["job"] = json.load(open(os.environ["ESA_JOB"]))
told["arguments"] = sys.argv[1:]
print(json.dumps(told))
print("two", "words", file=sys.stderr)
print("no newline", end="")
sys.exit({"0": 0, "1": 4, "2": 3}[os.environ["RANK"]])
"""


def test_ranks_are_told_who_and_where_they_are(rack: Up, tmp_path: Path) -> None:
    train = script(tmp_path, TELL)
    done = esa("launch", "--rack", rack.name, "--nproc", "3", "--name", "mlp", str(train), "--lr", "0.1", "--name", "x")
    assert done.returncode == 4, "the worst of 0, 4 and 3"
    out = done.stdout.splitlines()
    told = {int(line[1]): json.loads(line[4:]) for line in out if line.startswith(("[0] {", "[1] {", "[2] {"))}
    assert sorted(told) == [0, 1, 2]
    assert sorted(line for line in out if "{" not in line) == [f"[{rank}] no newline" for rank in range(3)]
    err = done.stderr.splitlines()
    assert sorted(line for line in err if line.endswith("words")) == [f"[{rank}] two words" for rank in range(3)]
    for rank, said in told.items():
        assert said["RANK"] == said["LOCAL_RANK"] == str(rank)
        assert said["WORLD_SIZE"] == said["LOCAL_WORLD_SIZE"] == "3"
        assert (said["MASTER_ADDR"], said["MASTER_PORT"]) == ("10.0.0.1", "29500")
        assert (said["GLOO_SOCKET_IFNAME"], said["OMP_NUM_THREADS"]) == ("eth0", "1")
        assert said["ESA_CONTROLLER"] == rack.record.controller
        assert said["me"] == said["job"]["workers"][rank]["ip"] == f"10.0.0.{rank + 1}"
        assert said["h3"] == "10.0.0.3"
        assert said["arguments"] == ["--lr", "0.1", "--name", "x"]
        assert (said["job"]["name"], said["job"]["policy"], said["job"]["server"]["ip"]) == ("mlp", "esa", "10.0.0.4")
    assert f"esa: job mlp on rack {rack.name}: ranks on h1, h2, h3; PS on h4; esa" in err
    nothing_left(rack, "mlp")


GLOO = """
import torch, torch.distributed as dist
dist.init_process_group("gloo")
sum = torch.tensor([float(dist.get_rank() + 1)])
dist.all_reduce(sum)
print(sum.item())
dist.destroy_process_group()
"""


def test_a_script_for_torchrun_runs_as_it_is_on_a_rack_of_its_own(root: None, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "launch", "--own-rack", "--nproc", "2", "--mbps", "1000", str(script(tmp_path, GLOO))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    out, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, err
    assert sorted(out.splitlines()) == ["[0] 3.0", "[1] 3.0"]
    assert "c10d" not in err, "torch finds the names of its peers"
    own = f"launch-{process.pid}"
    assert record.load(own) is None
    assert [path for folder in ("/run/netns", "/etc/netns") for path in Path(folder).glob(f"{own}-*")] == []


WAIT = """
import os, signal, subprocess, sys, time
subprocess.Popen(["sleep", "1000"], start_new_session=True)  # a child that leaves the rank's session
if os.environ["RANK"] in sys.argv[1:]:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("waiting", flush=True)
try:
    time.sleep(1000)
except KeyboardInterrupt:
    print("saved", flush=True)
"""


def test_jobs_that_run_are_placed_anew_when_one_comes(rack: Up, tmp_path: Path) -> None:
    def size(job: str) -> int:
        (found,) = [one for one in json.loads(esactl(rack, "pools", "--json").stdout)["jobs"] if one["name"] == job]
        return int(found["pool"]["size"])

    first = start(rack, "--nproc", "1", "--name", "first", str(script(tmp_path, WAIT)))
    assert first_lines(first, 1) == ["[0] waiting"]
    usual = size("first")
    moved = esactl(rack, "pools", "set", "first", "64", "8")
    assert (moved.exit_code, moved.stdout) == (0, "first: rows 64..71\n")
    assert size("first") == 8
    done = esa(
        "launch", "--rack", rack.name, "--nproc", "1", "--name", "second", str(script(tmp_path, TELL, "tell.py"))
    )
    assert done.returncode == 0, done.stderr
    assert size("first") == usual
    first.terminate()
    first.communicate(timeout=LIMIT_S)
    nothing_left(rack, "first")


OFFER = """
import os, sys, time
from pathlib import Path
import numpy as np
from esa.hosts import join
from esa.job import Job
with join(Job.load(Path(os.environ["ESA_JOB"]))) as worker:
    worker.all_reduce(np.ones(6400, np.int32)).result(60)
    print("summed", flush=True)
    while not Path(sys.argv[1]).exists():
        time.sleep(0.05)
"""


def three_free_ports() -> int:
    """The first of three TCP ports in a row that nobody listens on."""
    for first in range(21000 + os.getpid() % 1000, 30000, 3):
        with contextlib.suppress(BadInput), contextlib.ExitStack() as stack:
            for port in range(first, first + 3):
                stack.enter_context(listening(f"127.0.0.1:{port}"))
            return first
    raise AssertionError("no free ports")


def test_ranks_and_ps_offer_their_metrics_on_this_machine(rack: Up, tmp_path: Path) -> None:
    first = three_free_ports()
    name = script(tmp_path, OFFER)
    options = ("--metrics", f"127.0.0.1:{first}", "--name", "offer")
    process = start(rack, *options, str(name), str(tmp_path / "enough"))
    assert first_lines(process, 2) == ["[0] summed", "[1] summed"]
    texts = [asked(f"http://127.0.0.1:{port}/metrics") for port in range(first, first + 3)]
    (tmp_path / "enough").touch()
    _, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, err
    for rank in (0, 1):
        assert values(texts[rank])["esa_worker_results_total", ("offer", str(rank))] == 100
        assert f"[{rank}] esa: metrics at http://127.0.0.1:{first + rank}/metrics" in err
    assert ("esa_ps_fragments_total", ("offer",)) in values(texts[2])


def test_ctrl_c_reaches_the_ranks_and_a_second_one_hurries(rack: Up, tmp_path: Path) -> None:
    process = start(rack, "--nproc", "3", str(script(tmp_path, WAIT)), "2")
    assert first_lines(process, 3) == [f"[{rank}] waiting" for rank in range(3)]
    process.send_signal(signal.SIGINT)
    assert first_lines(process, 2) == ["[0] saved", "[1] saved"]
    for _ in range(2):  # rank 2 ignores SIGINT and SIGTERM
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        try:
            process.wait(1)
        except subprocess.TimeoutExpired:
            continue
    _, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130
    assert "esa: sent SIGINT to rank 0, 1, 2; SIGTERM follows in 10 s" in err
    assert re.search(r"^esa: sent SIGTERM to rank .*2; SIGKILL follows in 5 s$", err, re.MULTILINE)
    nothing_left(rack, "train")


FAIL = """
import os, time
if os.environ["RANK"] == "1":
    os.kill(os.getpid(), 11)
time.sleep(1000)
"""


def test_when_a_rank_fails_the_others_end_and_its_status_is_ours(rack: Up, tmp_path: Path) -> None:
    done = esa("launch", "--rack", rack.name, "--nproc", "2", str(script(tmp_path, FAIL)))
    assert done.returncode == 128 + signal.SIGSEGV
    said = [line for line in done.stderr.splitlines() if line.startswith("esa: ")]
    assert said[-2:] == [
        "esa: rank 1 (h2) was ended by SIGSEGV; ending the others",
        "esa: sent SIGTERM to rank 0; SIGKILL follows in 5 s",
    ]
    nothing_left(rack, "train")


def test_after_a_killed_launch_its_hosts_are_free_again(rack: Up, tmp_path: Path) -> None:
    killed = start(rack, "--nproc", "3", "--name", "lost", str(script(tmp_path, WAIT)))
    first_lines(killed, 3)
    assert len(jobs(rack)) == 1
    killed.kill()
    killed.wait()
    done = esa("launch", "--rack", rack.name, "--nproc", "3", "true")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    killed.communicate(timeout=LIMIT_S)
    nothing_left(rack, "lost")
    nothing_left(rack, "true")


def test_two_launches_share_a_rack(rack: Up, tmp_path: Path) -> None:
    first = start(rack, "--nproc", "1", str(script(tmp_path, WAIT)))
    first_lines(first, 1)
    second = esa("launch", "--rack", rack.name, "--nproc", "1", str(script(tmp_path, "print('here')")))
    assert (second.returncode, second.stdout) == (0, "[0] here\n")
    assert "job train-2 on rack" in second.stderr
    assert "ranks on h3; PS on h4" in second.stderr
    assert refused("launch", "--rack", rack.name, "--nproc", "2", "true") == (
        f"nproc: 2 ranks and a PS need 3 free hosts; rack '{rack.name}' has 2 of 4; jobs there: train"
    )
    first.terminate()
    first.communicate(timeout=LIMIT_S)
    assert first.returncode == 143
    nothing_left(rack, "train")


def test_a_module_runs_as_with_python_m(rack: Up, tmp_path: Path) -> None:
    script(tmp_path, "import sys; print(__name__, sys.argv[1:])", "some_training.py")
    done = esa("launch", "--rack", rack.name, "--nproc", "1", "-m", "some_training", "-m", "x", cwd=tmp_path)
    assert done.stdout == "[0] __main__ ['-m', 'x']\n", done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["nosuch.py"], "launch: there is no script nosuch.py"),
        (["nosuch"], "launch: 'nosuch' is neither a Python script (NAME.py) nor a program"),
        (["--nproc", "0", "true"], "nproc: 0; allowed: 1 to 32"),
        (["--policy", "best", "true"], "policy: unknown policy 'best'; allowed: esa, atp, a2tp, switchml, ps"),
        (["--lanes", "65", "true"], "lanes: no build with 65 lanes; allowed: 0, 64, 256"),
        (["--mbps", "25", "true"], "is up with 100.0, not 25.0; leave --mbps out"),
        (["--rack", "nosuch", "true"], "rack: no rack 'nosuch' is up; there are: "),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(rack: Up, options: list[str], message: str) -> None:
    chosen = [] if "--rack" in options else ["--rack", rack.name]
    assert message in refused("launch", *chosen, *options)


def test_nobody_reading_ends_the_launch(rack: Up, tmp_path: Path) -> None:
    endless = script(tmp_path, "import time\nwhile True: print('x' * 100); time.sleep(0.01)")
    process = start(rack, "--nproc", "1", str(endless))
    first_lines(process, 1)
    assert process.stdout is not None
    process.stdout.close()
    process.wait(LIMIT_S)
    assert process.returncode == 128 + signal.SIGPIPE
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()
    nothing_left(rack, "train")


def test_the_rack_s_end_is_the_launch_s(root: None, tmp_path: Path) -> None:
    up = bring_up(f"t{os.getpid()}", 2)
    try:
        process = start(up, "--nproc", "1", str(script(tmp_path, WAIT)))
        first_lines(process, 1)
        assert esa("down", up.name).returncode == 0
        _, err = process.communicate(timeout=LIMIT_S)
        assert process.returncode == 1
        assert "has gone; ending the others" in err
        assert marked(f"{up.name}/train") == []
    finally:
        up.end()
