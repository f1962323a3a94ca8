"""PyTorch over in-network aggregation: one line after `DistributedDataParallel(model)`.

model = DistributedDataParallel(model)
esa.torch.attach(model)
...  # train as usual
"""

from esa.torch.check import check_model
from esa.torch.hook import esa_hook
from esa.torch.notices import EsaWarning
from esa.torch.session import Session, Traffic, attach, detach, session
from esa.torch.state import EsaState
from esa.torch.timeline import Statistics, Timeline

__all__ = [
    "EsaState",
    "EsaWarning",
    "Session",
    "Statistics",
    "Timeline",
    "Traffic",
    "attach",
    "check_model",
    "detach",
    "esa_hook",
    "session",
]
