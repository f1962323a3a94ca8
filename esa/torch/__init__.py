"""PyTorch DistributedDataParallel over in-network aggregation: a communication hook and its state.

with WorkerEndpoint(job, rank) as worker, EsaState.of(job, worker) as state:
    model.register_comm_hook(state, esa_hook)
    ...  # train as usual
"""

from esa.torch.check import check_model
from esa.torch.hook import esa_hook
from esa.torch.notices import EsaWarning
from esa.torch.state import EsaState
from esa.torch.timeline import Statistics, Timeline

__all__ = ["EsaState", "EsaWarning", "Statistics", "Timeline", "check_model", "esa_hook"]
