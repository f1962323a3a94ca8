"""The name "esa" for torch.distributed. `import torch` calls `register` (entry point `torch.backends`).

For that nothing else may be loaded: the backend itself is, when a process group is created.
"""

from __future__ import annotations

from typing import Any

NAME = "esa"


def register() -> None:
    """Make `torch.distributed.init_process_group("cpu:esa")` possible; more than once does no harm."""
    import torch.distributed as dist

    if dist.is_available() and NAME not in dist.Backend.backend_list:
        dist.Backend.register_backend(NAME, _create, extended_api=True, devices=["cpu"])


def _create(options: Any, own: Any) -> Any:
    from esa.torch.backend import create

    return create(options, own)
