"""PyTorch over in-network aggregation: one line after `DistributedDataParallel(model)`.

model = DistributedDataParallel(model)
esa.torch.attach(model)
...  # train as usual

Or, for FullyShardedDataParallel and all else, as torch.distributed's backend:

dist.init_process_group("cpu:esa,cuda:nccl")
"""

from esa.autoload import register
from esa.torch.backend import EsaGroup, EsaOptions
from esa.torch.check import check_model
from esa.torch.hook import esa_hook
from esa.torch.notices import EsaWarning
from esa.torch.session import Session, Traffic, attach, attached, detach, session
from esa.torch.state import EsaState
from esa.torch.sums import SumStatistics
from esa.torch.timeline import Statistics, Timeline

register()

__all__ = [
    "EsaGroup",
    "EsaOptions",
    "EsaState",
    "EsaWarning",
    "Session",
    "Statistics",
    "SumStatistics",
    "Timeline",
    "Traffic",
    "attach",
    "attached",
    "check_model",
    "detach",
    "esa_hook",
    "session",
]
