"""ESA: in-network aggregation whose switch memory is scheduled in the data plane (arXiv 2201.06398).

What most users need is here, and is imported when it is first used: `import esa` takes no time and needs no PyTorch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from esa.exports import lazy

if TYPE_CHECKING:
    from esa.errors import AllReduceError, BadInput, EsaError, JoinError, MemberLeft, SwitchError
    from esa.hosts import ServerEndpoint, WorkerEndpoint, join
    from esa.job import Job
    from esa.policy import POLICIES, Policy
    from esa.torch.hook import esa_hook
    from esa.torch.session import attach, detach, session
    from esa.torch.state import EsaState

__version__ = "0.1.0"
__all__ = [
    "POLICIES",
    "AllReduceError",
    "BadInput",
    "EsaError",
    "EsaState",
    "Job",
    "JoinError",
    "MemberLeft",
    "Policy",
    "ServerEndpoint",
    "SwitchError",
    "WorkerEndpoint",
    "__version__",
    "attach",
    "detach",
    "esa_hook",
    "join",
    "session",
]
__getattr__, __dir__ = lazy(
    __name__,
    {
        "esa.errors": ("AllReduceError", "BadInput", "EsaError", "JoinError", "MemberLeft", "SwitchError"),
        "esa.hosts": ("ServerEndpoint", "WorkerEndpoint", "join"),
        "esa.job": ("Job",),
        "esa.policy": ("POLICIES", "Policy"),
        "esa.torch": ("EsaState", "attach", "detach", "esa_hook", "session"),
    },
)
