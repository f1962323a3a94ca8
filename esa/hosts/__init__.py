"""Workers and PS on UDP sockets and the real clock.

with join(Job.load("job.json")) as worker:                       # a rank; waits until all have come
    sums = worker.all_reduce(lanes, priority=128).result()     # lanes: (n,) int32, one array per worker

python -m esa.hosts server --job job.json                        # the job's PS

Imported when it is first used: who starts these processes does not wait for a compiler.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from esa.errors import AllReduceError, JoinError, MemberLeft
from esa.exports import lazy

if TYPE_CHECKING:
    from esa.hosts.joining import join
    from esa.hosts.server import ServerEndpoint
    from esa.hosts.worker import WorkerEndpoint
    from esa.transport import Reduced

__all__ = ["AllReduceError", "JoinError", "MemberLeft", "Reduced", "ServerEndpoint", "WorkerEndpoint", "join"]
__getattr__, __dir__ = lazy(
    __name__,
    {
        "esa.hosts.joining": ("join",),
        "esa.hosts.server": ("ServerEndpoint",),
        "esa.hosts.worker": ("WorkerEndpoint",),
        "esa.transport": ("Reduced",),
    },
)
