"""ESA: in-network aggregation whose switch memory is scheduled in the data plane (arXiv 2201.06398).

What most users need is here, and is imported when it is first used: `import esa` takes no time and needs no PyTorch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

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
_MODULES = {
    "esa.errors": ("AllReduceError", "BadInput", "EsaError", "JoinError", "MemberLeft", "SwitchError"),
    "esa.hosts": ("ServerEndpoint", "WorkerEndpoint", "join"),
    "esa.job": ("Job",),
    "esa.policy": ("POLICIES", "Policy"),
    "esa.torch": ("EsaState", "attach", "detach", "esa_hook", "session"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'esa' has no attribute '{name}'")
    return getattr(importlib.import_module(_MODULE_OF[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
