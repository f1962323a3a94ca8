"""Workers and PS on UDP sockets and the real clock.

job = Job.load(Path("job.json"))
with WorkerEndpoint(job, rank) as worker:
    sums = worker.all_reduce(lanes, priority=128).result()     # lanes: (n,) int32, one array per worker

python -m esa.hosts server --job job.json --stats stats.json   # the job's PS
"""

from esa.hosts.errors import AllReduceError
from esa.hosts.server import ServerEndpoint
from esa.hosts.worker import WorkerEndpoint
from esa.transport import Reduced

__all__ = ["AllReduceError", "Reduced", "ServerEndpoint", "WorkerEndpoint"]
