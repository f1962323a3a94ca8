"""What no scenario may say, live or in virtual time: refused with one line that names the key and what is allowed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from experiments.live.check import check_live
from experiments.specs.scenario import Scenario
from experiments.specs.toml_files import ScenarioError
from experiments.virtual.check import check_virtual
from tests.experiments import texts

CHECKS = {"live": check_live, "virtual": check_virtual}
GOOD = {"live": texts.LIVE, "virtual": texts.VIRTUAL}
BOTH, LIVE, VIRTUAL = ("live", "virtual"), ("live",), ("virtual",)

# Which backends refuse it; what stands in the place of what; the key that is named; what is said to be allowed.
# Without BMv2 a scenario that asks for it is refused for that.
BMV2_ONLY = (
    (
        LIVE,
        'rate = "20 Mb/s"',
        'rate = "20 Mb/s"\necn_packets = 9\n[live]\nswitch = "bmv2"',
        "network.ecn_packets",
        "'embedded', or virtual time",
    ),
)
REFUSED = [
    (BOTH, 'name = "two"', 'name = "two"\ncolour = 1', "colour", "policy, lanes"),
    (BOTH, "rate =", "raet =", "network.raet", "rate, hosts"),
    (BOTH, 'name = "two"', 'name = "two"\ntransport = "mpi"', "transport", "ina, gloo, halving-doubling"),
    (LIVE, 'name = "two"', 'name = "two"\ntransport = "halving-doubling"', "jobs[0].transport", "allowed: ina, gloo"),
    (BOTH, 'name = "two"', 'name = "two"\npolicy = "gloo"', "policy", 'transport = "gloo"'),
    (BOTH, 'name = "two"', 'name = "two"\npolicy = "best"', "policy", "esa, atp, a2tp, switchml, ps"),
    (BOTH, "[network]", '[live]\nswitch = "tofino"\n[network]', "live.switch", "embedded, bmv2"),
    (BOTH, 'name = "two"', 'name = "two"\nlanes = 128', "lanes", "64, 256"),
    (BOTH, 'name = "two"', 'name = "two"\nlanes = 0', "lanes", "64, 256"),
    (BOTH, "aggregators = 64", "aggregators = 100", "aggregators", "powers of two"),
    (BOTH, 'name = "b"', 'name = "a"', "jobs[1].name", "already"),
    (BOTH, 'name = "two"', "", "name", "missing"),
    (BOTH, 'name = "two"', 'name = "two"\nvirtual.scheduler = "best"', "virtual.scheduler", "fifo, first-fit"),
    (BOTH, 'name = "two"', 'name = "two"\nvirtual.gpus = 0', "virtual.gpus", "1"),
    (BOTH, 'name = "two"', 'name = "two"\nvirtual.gpus = 17', "virtual.gpus", "16"),
    (BOTH, 'name = "two"', 'name = "two"\nseed = -1', "seed", "0"),
    (BOTH, 'name = "two"', 'name = "two"\nvirtual.sample_us = 0', "virtual.sample_us", "greater than 0"),
    (BOTH, 'name = "two"', 'name = "two"\nvirtual.limit_s = 10000', "virtual.limit_s", "3600"),
    (BOTH, "aggregators = 64", "aggregators = 16384\nvirtual.carry_gradients = true", "aggregators", "1 to 8192"),
    (BOTH, "[network]", "[virtual]\nswitch_ns = -1\n[network]", "virtual.switch_ns", "0"),
    (
        LIVE,
        "[network]",
        "admission = true\n[network]\ndelay_us = 100.0",
        "admission",
        "allowed: false, or no delay_us",
    ),
    (BOTH, "window = 16", "window = 20000", "jobs[1].window", "16384"),
    (BOTH, "window = 16", "jitter = 1.0", "jobs[1].jitter", "less than 1"),
    (BOTH, "window = 16", "straggle = 1.5", "jobs[1].straggle", "1"),
    (BOTH, "window = 16", "slowdown = 0.5", "jobs[1].slowdown", "1"),
    (BOTH, "window = 16", "bucket_cap_mb = 0.0", "jobs[1].bucket_cap_mb", "0.001"),
    (BOTH, "window = 16", 'policy = "best"', "jobs[1].policy", "esa, atp, a2tp, switchml, ps"),
    (BOTH, "window = 16", 'priority = ["speed"]', "jobs[1].priority", "ratio, service, layer"),
    (BOTH, "window = 16", 'priority = ["ratio", "ratio"]', "jobs[1].priority", "ratio, service, layer"),
    (BOTH, "window = 16", "priority = 0", "jobs[1].priority", "1 to 255"),
    (BOTH, "window = 16", "priority = true", "jobs[1].priority", "1 to 255"),
    (
        BOTH,
        "[network]",
        '[[failures]]\nwhat = "ps"\nname = "z"\nat_s = 1.0\n[network]',
        "failures[0].name",
        "allowed: a, b",
    ),
    (
        BOTH,
        "[network]",
        '[[failures]]\nwhat = "host"\nname = "z"\nat_s = 1.0\n[network]',
        "failures[0].name",
        "no host 'z'",
    ),
    (
        BOTH,
        "[network]",
        '[[failures]]\nwhat = "cable"\nname = "z"\nat_s = 1.0\n[network]',
        "failures[0].what",
        "'switch', 'ps' or 'host'",
    ),
    (
        BOTH,
        "[network]",
        '[[failures]]\nwhat = "ps"\nname = "a"\nat_s = -1.0\n[network]',
        "failures[0].at_s",
        "0",
    ),
    (
        BOTH,
        "[network]",
        '[[failures]]\nwhat = "switch"\nname = "rack-0"\nat_s = 1.0\n[network]',
        "failures[0].name",
        "allowed: switch-0",
    ),
    (
        VIRTUAL,
        "[network]",
        '[virtual]\nlimit_s = 1.0\n[[failures]]\nwhat = "switch"\nname = "switch-0"\nat_s = 1.0\n[network]',
        "failures[0].at_s",
        "less than virtual.limit_s, 1",
    ),
    (
        VIRTUAL,
        'name = "two"',
        'name = "two"\ntransport = "gloo"\nfailures = [{ what = "host", name = "host-0", at_s = 1.0 }]',
        "failures[0].what",
        "transport 'ina'",
    ),
    (LIVE, "window = 48", "windows = 48", "jobs[0].windows", "window"),
    (LIVE, "20 Mb/s", "2 Gb/s", "network.rate", "at most 1 Gb/s"),
    (LIVE, 'rate = "20 Mb/s"', 'rate = "1 Mb/s"\nrates = { a-9 = "5 Mb/s" }', "network.rates.a-9", "a-0, a-1, a-ps"),
    (LIVE, '"20 Mb/s"', "20.0", "network.rate", 'as "25 Mb/s"'),
    (LIVE, '"20 Mb/s"', '"20 MB/s"', "network.rate", 'as "25 Mb/s"'),
    (LIVE, 'rate = "20 Mb/s"', "", "network.rate", "missing"),
    (LIVE, 'rate = "20 Mb/s"', 'rate = "20 Mb/s"\nracks = [2, 2]', "network.racks", "a host for each"),
    (LIVE, 'rate = "20 Mb/s"', 'rate = "20 Mb/s"\nhosts = 5', "network.hosts", "a host for each"),
    (LIVE, 'rate = "20 Mb/s"', 'rate = "20 Mb/s"\nhosts = 300', "network.hosts", "253"),
    *(BMV2_ONLY if shutil.which("simple_switch_grpc") else ()),
    (LIVE, "window = 48", 'congestion = "dctcp"', "jobs[0].congestion", "with network.ecn_packets"),
    (LIVE, "window = 48", 'congestion = "cubic"', "jobs[0].congestion", "'none', 'aimd' or 'dctcp'"),
    (
        LIVE,
        'rate = "20 Mb/s"',
        'rate = "20 Mb/s"\ndelay_us = 5000.0\n[job_defaults]\ntransport = "gloo"',
        "network.delay_us",
        "ina",
    ),
    (LIVE, "[network]", "[timers]\nrto_floor_us = 2e6\n[network]", "timers.rto_initial_us", "from rto_floor_us, 2e+06"),
    (LIVE, 'model = "mlp"', 'model = "gpt"', "jobs[0].model", "mlp, cnn"),
    (LIVE, 'model = "mlp"', 'model = "vgg16"', "jobs[0].model", "mlp, cnn"),
    (LIVE, "window = 48", "scale = 0.5", "jobs[0].scale", "1.0 live"),
    (LIVE, "window = 48", 'order = "front-first"', "jobs[0].order", "'ddp' live"),
    (LIVE, "window = 48", "hosts = [0, 1, 2]", "jobs[0].hosts", "network.hosts"),
    (LIVE, "window = 48", "workers = 33\nbatch_size = 1", "jobs[0].workers", "32"),
    (LIVE, "window = 48", "workers = 0", "jobs[0].workers", "1"),
    (LIVE, "window = 48", "servers = 3", "jobs[0].servers", "1, 2, 4, 8"),
    (LIVE, "window = 48", "servers = 2\nservers_on = 'workers'", "jobs[0].servers_on", "'hosts' live"),
    (LIVE, "window = 48", "window = 15\nservers = 2", "jobs[0].window", "multiple of the job's 2 PSs"),
    (LIVE, "window = 48", "window = 48\nspan = 51\nservers = 2", "jobs[0].span", "multiple of the job's 2 PSs"),
    (LIVE, "window = 48", "batch_size = 1000", "jobs[0].batch_size", "1347"),
    (LIVE, "window = 48", 'quantisation = "float"', "jobs[0].quantisation", "fixed"),
    (LIVE, "window = 48", "pool = { base = 0, size = 24 }", "jobs[0].pool.size", "power of two"),
    (LIVE, "window = 48", "pool = { base = 8192, size = 64 }", "jobs[0].pool", "8192 rows"),
    (LIVE, "aggregators = 64", "aggregators = 16384", "aggregators", "1 to 8192"),
    (
        VIRTUAL,
        'name = "two"',
        'name = "two"\ntransport = "gloo"\nvirtual.carry_gradients = true',
        "virtual.carry_gradients",
        "allowed: ina",
    ),
    (VIRTUAL, 'name = "two"', 'name = "two"\nlanes = 256\nvirtual.carry_gradients = true', "lanes", "allowed: 64"),
    (
        VIRTUAL,
        'name = "two"',
        'name = "two"\nvirtual.limit_s = 0.25',
        "jobs[1].submit_s",
        "less than virtual.limit_s, 0.25",
    ),
    (VIRTUAL, "aggregators = 64", "aggregators = 131072", "aggregators", "1 to 65536"),
    (VIRTUAL, "hosts = 8", "hosts = 1", "network.hosts", "2"),
    (VIRTUAL, "hosts = 8", "hosts = 8\nracks = [4, 4]", "network.hosts", "either"),
    (VIRTUAL, "hosts = 8", "racks = []", "network.racks", "1"),
    (VIRTUAL, "hosts = 8", "hosts = 8\nfat_tree = 4", "network.fat_tree", "one of them"),
    (VIRTUAL, "hosts = 8", "fat_tree = 5", "network.fat_tree", "multiple of 2"),
    (VIRTUAL, "hosts = 8", "fat_tree = 18", "network.fat_tree", "16"),
    (VIRTUAL, "hosts = 8", "fat_tree = 4\nspines = 2", "network.spines", "two or more racks"),
    (VIRTUAL, "hosts = 8", "fat_tree = 4", "jobs[0].workers", "sums over several racks need a leaf-spine"),
    (LIVE, 'rate = "20 Mb/s"', 'rate = "20 Mb/s"\nfat_tree = 4', "network.fat_tree", "virtual time"),
    (VIRTUAL, "hosts = 8", "racks = [4, 0]", "network.racks[1]", "1"),
    (VIRTUAL, "hosts = 8", "hosts = 8\nspines = 2", "network.spines", "two or more racks"),
    (VIRTUAL, "hosts = 8", "hosts = 8\nspine_rate = '10 Gb/s'", "network.spine_rate", "two or more racks"),
    (VIRTUAL, "hosts = 8", "racks = [490, 4]\nspines = 32", "network.racks", "500 ports"),
    (VIRTUAL, "hosts = 8", "hosts = 8\nqueue_packets = 0", "network.queue_packets", "1"),
    (VIRTUAL, "hosts = 8", "hosts = 8\necn_packets = 0", "network.ecn_packets", "1"),
    (VIRTUAL, "hosts = 8", "hosts = 8\ndelay_us = -1.0", "network.delay_us", "0"),
    (VIRTUAL, "hosts = 8", "hosts = 8\ndelay_us = nan", "network.delay_us", "finite"),
    (VIRTUAL, "10 Gb/s", "0 Gb/s", "network.rate", "above 0"),
    (VIRTUAL, "10 Gb/s", "100 Tb/s", "network.rate", "at most 10 Tb/s"),
    (VIRTUAL, "10 Gb/s", "inf", "network.rate", "a text with its unit"),
    (
        VIRTUAL,
        "rate =",
        "server_rate = '5 Gb/s'\nrate =",
        "network.server_rate",
        "or hosts in every job",
    ),
    (VIRTUAL, "window = 48", "servers = 4\nservers_on = 'workers'", "jobs[0].servers", "up to the 3 workers"),
    (VIRTUAL, "rate =", "rates = { host-9 = '5 Gb/s' }\nrate =", "network.rates.host-9", "host-0 to host-7"),
    (VIRTUAL, "rate =", "rates = { host-1 = '5 b/s' }\nrate =", "cables", "1000 or more"),
    (VIRTUAL, "rate =", "delays_us = { host-9 = 5 }\nrate =", "network.delays_us.host-9", "host-0 to host-7"),
    (VIRTUAL, "rate =", "delays_us = { host-1 = -5 }\nrate =", "network.delays_us.host-1", "0"),
    (VIRTUAL, "rate =", "delay_spread_us = -5\nrate =", "network.delay_spread_us", "0"),
    (LIVE, "rate =", "delays_us = { a-0 = 5 }\nrate =", "network.delays_us", "network.delay_us"),
    (LIVE, "rate =", "delay_spread_us = 5\nrate =", "network.delay_spread_us", "network.delay_us"),
    (VIRTUAL, "[job_defaults]", "[virtual]\nsend_ns = -5\n[job_defaults]", "virtual.send_ns", "0"),
    (VIRTUAL, "[job_defaults]", "[virtual]\ncores = 3\n[job_defaults]", "virtual.cores", "2"),
    (VIRTUAL, "[job_defaults]", "[timers]\nrto_floor_us = 0.0\n[job_defaults]", "timers.rto_floor_us", "0"),
    (
        VIRTUAL,
        "[job_defaults]",
        "[timers]\nrto_floor_us = 300.0\nrto_ceiling_us = 200.0\n[job_defaults]",
        "timers.rto_initial_us",
        "from rto_floor_us, 300, to rto_ceiling_us, 200",
    ),
    (VIRTUAL, "workers = 3", "workers = 8", "jobs[0].workers", "1 to 7 on 8 hosts"),
    (VIRTUAL, "workers = 3", "workers = 0", "job_defaults.workers", "1"),
    (VIRTUAL, "workers = 3", "wrokers = 3", "job_defaults.wrokers", "workers"),
    (VIRTUAL, "workers = 3", "workers = 33\n", "jobs[0].workers", "1 to 7"),
    (VIRTUAL, "window = 48", "window = 0", "job_defaults.window", "1"),
    (VIRTUAL, "window = 16", "iterations = 0", "jobs[1].iterations", "1"),
    (VIRTUAL, "scale = 0.01\nwindow", "scale = 0.0\nwindow", "jobs[1].scale", "greater than 0"),
    (VIRTUAL, "scale = 0.01\nwindow", "scale = 1e-9\nwindow", "jobs[1].scale", "leaves nothing"),
    (VIRTUAL, "window = 16", "time_scale = 1000.0\nslowdown = 1000.0", "jobs[1].model", "1000 s"),
    (VIRTUAL, "window = 16", "hosts = [0, 1]", "jobs[1].hosts", "4, for 3 workers and the PS"),
    (VIRTUAL, "window = 16", "hosts = [0, 1, 2, 2]", "jobs[1].hosts", "of its own"),
    (VIRTUAL, "window = 16", "hosts = [0, 1, 2, 8]", "jobs[1].hosts", "0 to 7"),
    (VIRTUAL, "window = 16", "pool = { base = 65536, size = 64 }", "jobs[1].pool", "65536 rows"),
    (VIRTUAL, "submit_s = 0.5", "submit_s = -1.0", "jobs[1].submit_s", "0"),
    (VIRTUAL, 'model = "vgg16"', 'model = "gpt"', "jobs[0].model", "alexnet, bert"),
    (VIRTUAL, 'model = "vgg16"', "", "jobs[0].model", "missing"),
]

# The same of what stands in `texts.FAULT`.
REFUSED_FAULTS = [
    (BOTH, "loss = 0.1", "loss = 1.5", "faults[0].loss", "1"),
    (BOTH, "loss = 0.1", "loss = -0.5", "faults[0].loss", "0"),
    (BOTH, "loss = 0.1", "duplicate = nan", "faults[0].duplicate", "finite"),
    (BOTH, "loss = 0.1", "delay_ms = -1", "faults[0].delay_ms", "0"),
    (BOTH, "loss = 0.1", "jitter_ms = -1", "faults[0].jitter_ms", "0"),
    (BOTH, "loss = 0.1", "burst_leave = 0", "faults[0].burst_leave", "0"),
    (BOTH, "loss = 0.1", "lose = 0.1", "faults[0].lose", "loss, duplicate, reorder"),
    (BOTH, 'link = "a-0"', "", "faults[0].link", "missing"),
    (BOTH, '"to_switch"', '"up"', "faults[0].direction", "to_switch"),
    (BOTH, "loss = 0.1", 'where = "cable"', "faults[0].where", "hosts"),
    (LIVE, 'link = "a-0"', 'link = "c-0"', "faults[0].link", "all, a-0, a-1, a-ps"),
    (VIRTUAL, 'link = "a-0"', 'link = "host-8"', "faults[0].link", "all, host-0 to host-7"),
    (VIRTUAL, 'link = "a-0"', 'link = "all"\nwhere = "switch"', "faults[0].where", "'hosts'"),
]


def by_backend(rows: list[tuple[tuple[str, ...], str, str, str, str]]) -> list[tuple[str, str, str, str, str]]:
    return [(backend, *row) for backends, *row in rows for backend in backends]


def check(folder: Path, backend: str, text: str, key: str, allowed: str) -> None:
    file = folder / "scenario.toml"
    file.write_text(text)
    with pytest.raises(ScenarioError) as refused:
        Scenario.load(file, CHECKS[backend])
    message = str(refused.value)
    assert "\n" not in message
    assert f"scenario.toml: {key}:" in message
    assert allowed in message


@pytest.mark.parametrize(("backend", "old", "new", "key", "allowed"), by_backend(REFUSED))
def test_bad_keys_are_named_with_what_is_allowed(
    tmp_path: Path, backend: str, old: str, new: str, key: str, allowed: str
) -> None:
    assert old in GOOD[backend]
    check(tmp_path, backend, GOOD[backend].replace(old, new, 1), key, allowed)


@pytest.mark.parametrize(("backend", "old", "new", "key", "allowed"), by_backend(REFUSED_FAULTS))
def test_faults_that_cannot_be_are_refused(
    tmp_path: Path, backend: str, old: str, new: str, key: str, allowed: str
) -> None:
    assert old in texts.FAULT
    check(tmp_path, backend, GOOD[backend] + texts.FAULT.replace(old, new, 1), key, allowed)
