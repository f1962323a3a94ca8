"""Lightning: a callback that attaches the model. (Lightning's `ddp_comm_hook=` registers nothing on CPUs.)

Trainer(strategy="ddp", callbacks=[EsaCallback()])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch.nn.parallel import DistributedDataParallel

from esa.torch.session import attach, described, detach

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from esa.torch.settings import StateSettings

try:
    from lightning.pytorch import Callback
except ImportError:  # the package of the same project under its older name
    from pytorch_lightning import Callback  # type: ignore[assignment,unused-ignore]


class EsaCallback(Callback):  # type: ignore[misc,unused-ignore]
    """Lets the switch sum the gradients of a fit. Settings are those of `esa.torch.attach`.

    TypeError if the strategy wraps the model in something else than DistributedDataParallel.
    """

    def __init__(self, **settings: Unpack[StateSettings]) -> None:
        self._settings = settings
        self.state: Any = None  # the model's `EsaState`, from the fit's start on

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        model = trainer.strategy.model
        if not isinstance(model, DistributedDataParallel):
            raise TypeError(
                f"strategy: {type(trainer.strategy).__name__} trains a {type(model).__name__}; "
                "EsaCallback needs strategy='ddp'"
            )
        self.state = attach(model, **self._settings)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        detach()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        detach(described(exception))  # the other ranks shall not wait for the end of this process
