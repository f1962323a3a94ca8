"""A job on a switch that runs, added by hand and looked at: what `esactl job add` and `esactl counters` do.

esa-switch --no-p4 --device-id 0 -- --grpc-server-addr 127.0.0.1:9559 &
python experiments/examples/add_job.py 127.0.0.1:9559
"""

import sys
import tempfile
from pathlib import Path

from controller import Controller, Switch
from esa.job import Job, Member, Pool
from esa.wire import ESA_PORT


def member(host: int, udp_port: int) -> Member:
    return Member(ip=f"10.0.0.{host}", mac=f"02:00:00:00:00:{host:02x}", udp_port=udp_port, switch_port=host)


job = Job(
    name="mnist",
    job=1,
    policy="esa",
    workers=(member(1, 20000), member(2, 20000)),
    server=member(3, ESA_PORT),
    switch_ip="10.0.0.250",
    pool=Pool(base=0, size=1024),
)
with Switch.connect(sys.argv[1], 0) as switch, tempfile.TemporaryDirectory() as folder:
    controller = Controller(switch, Path(folder) / "jobs.json")
    controller.load(64)
    controller.add_job(job)
    controller.set_policy(job.job, "atp")
    print(f"{job.name}: {job.fan_in} workers, completed: {controller.counters(job.job)['completed']}")
    controller.remove_job(job.job)
