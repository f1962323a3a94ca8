"""Jobs to test with: host h is 10.0.0.h behind port h."""

from __future__ import annotations

from typing import Any

from esa.job import Job, Run
from esa.wire import ESA_PORT


def member(host: int, udp_port: int = 20000, port: int | None = None) -> dict[str, Any]:
    return {
        "ip": f"10.0.{host >> 8}.{host & 255}",
        "mac": f"00:00:0a:00:{host >> 8:02x}:{host & 255:02x}",
        "udp_port": udp_port,
        "switch_port": host if port is None else port,
    }


def job_dict(name: str = "alpha", job: int = 1, policy: str = "esa", **changes: Any) -> dict[str, Any]:
    """A job of two workers (hosts 1 and 2) and a PS (host 10 + job) that shares all of a 64-lane switch's rows."""
    default = {
        "name": name,
        "job": job,
        "policy": policy,
        "workers": [member(1, 20000 + job), member(2, 20000 + job)],
        "server": member(10 + job, ESA_PORT),
        "switch_ip": "10.0.0.250",
        "pool": {"base": 0, "size": 4096},
    }
    return {**default, **changes}


def make_job(name: str = "alpha", job: int = 1, policy: str = "esa", **changes: Any) -> Job:
    return Job.model_validate(job_dict(name, job, policy, **changes))


def make_run(name: str = "alpha", job: int = 1, policy: str = "esa", epoch: int = 7, **changes: Any) -> Run:
    return make_job(name, job, policy, **changes).run(epoch)
