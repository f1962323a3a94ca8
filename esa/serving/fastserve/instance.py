"""An instance of FastServe from model, GPU and policy.

replica = instance("opt-13b", "a100-40", policy="fastserve")
simulate_serving(requests, [replica], RoundRobin())
"""

from __future__ import annotations

from dataclasses import replace

from esa.errors import BadInput
from esa.serving.batches import decode_shape, prompt_shape
from esa.serving.core import Replica
from esa.serving.costs.stages import StageTimes, stage_times
from esa.serving.fastserve.engine import Engine, Rules
from esa.serving.fastserve.orders import order_of
from esa.serving.fastserve.store import Store
from esa.serving.kv_memory import BLOCK_TOKENS, Blocks, paged_blocks
from esa.serving.models import gpu_of, model_of

PCIE_GBS = 32.0  # one way, PCIe 4 with 16 lanes
HOST_GB = 56.0
ALPHA_NS = 300_000_000
ARTEFACT_PROMPT_TOKENS = 2048


def instance(
    model: str,
    gpu: str,
    *,
    tp: int = 1,
    policy: str = "fastserve",
    rules: Rules | None = None,
    alpha_ns: int | None = ALPHA_NS,
    blocks: int | None = None,
    host_gb: float = HOST_GB,
    pcie_gbs: float = PCIE_GBS,
    times: StageTimes | None = None,
    profile: StageTimes | None = None,
    pace: float = 1.0,
) -> Replica:
    """One stage. blocks: of the GPU; None: what weights leave of its memory. pcie_gbs: one way; 0: nothing is copied.

    profile: of first iterations, by which requests join and quanta are; None: `times`. pace: of a clock that shows a
    part of what passes, as where a part of the layers runs (`esa/serving_network/together.py`): quanta, alpha and
    copies keep to it.

    BadInput for what does not fit or is not known.
    """
    if not 0 <= pcie_gbs < 1e6 or not 0 <= host_gb < 1e6:
        raise BadInput(f"pcie {pcie_gbs:g} GB/s, host {host_gb:g} GB; allowed: from 0, below 1e6")
    if not 0 < pace <= 1:
        raise BadInput(f"pace {pace:g}; allowed: above 0, to 1")
    shape = model_of(model)
    found = times or stage_times(model, gpu, tp, 1)
    own = paged_blocks(shape, gpu_of(gpu), tp) if blocks is None else blocks
    block_bytes = shape.kv_bytes * BLOCK_TOKENS // tp
    host = max(1, int(host_gb * 1e9 / tp // block_bytes))
    rules = rules or Rules()
    if policy == "fastserve-artefact" and rules.prompt_tokens > ARTEFACT_PROMPT_TOKENS:
        rules = replace(rules, prompt_tokens=ARTEFACT_PROMPT_TOKENS)

    known = profile or found

    def prompt_ns(tokens: int) -> int:
        return max(1, round(known.stage_ns(prompt_shape(tokens)) * pace))

    def token_ns() -> int:
        return max(1, round(known.stage_ns(decode_shape(1, 1)) * pace))

    waits_ns = None if alpha_ns is None else max(1, round(alpha_ns * pace))
    order = order_of(policy, prompt_ns, token_ns, alpha_ns=waits_ns, pace=pace)
    store = Store(Blocks(own), Blocks(host), pcie_gbs / pace, block_bytes)
    return Replica(Engine(order, store, rules, pace), found)
