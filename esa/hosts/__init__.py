"""Workers and PS on UDP sockets and the real clock.

with join(Job.load("job.json")) as worker:                       # a rank; waits until all have come
    sums = worker.all_reduce(lanes, priority=128).result()     # lanes: (n,) int32, one array per worker

python -m esa.hosts server --job job.json                        # the job's PS

Imported when it is first used: who starts these processes does not wait for a compiler.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from esa.errors import AllReduceError, JoinError, MemberLeft

if TYPE_CHECKING:
    from esa.hosts.joining import join
    from esa.hosts.server import ServerEndpoint
    from esa.hosts.worker import WorkerEndpoint
    from esa.transport import Reduced

__all__ = ["AllReduceError", "JoinError", "MemberLeft", "Reduced", "ServerEndpoint", "WorkerEndpoint", "join"]
_MODULE_OF = {
    "Reduced": "esa.transport",
    "ServerEndpoint": "esa.hosts.server",
    "WorkerEndpoint": "esa.hosts.worker",
    "join": "esa.hosts.joining",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module(_MODULE_OF[name]), name)
