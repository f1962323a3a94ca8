"""What levels 1 and 2 answer, from how a job's fragments were sent."""

from __future__ import annotations

from esa.cluster.times import Answer
from esa.network_times.memory import switches_of
from esa.network_times.network import FRAGMENT_BYTES, PACKET_BYTES
from esa.network_times.rates import Share
from esa.network_times.sharing import Shares
from esa.network_times.training import bytes_of


def answer(shares: Shares, job: int, iteration_s: float, share: Share, part: float, level: int) -> Answer:
    """Of one job. iteration_s: taken for its computing if it is below that. share: of it while it sends, in which part
    of the time; its rows are those of all switches.
    """
    member, policy = shares.component.members[job], shares.network.policy
    compute_s = member.compute_ns / 1e9
    iteration_s = max(iteration_s, compute_s)
    there = share.beside * member.ranks + (1 - share.beside) * (policy == "atp")  # packets that the PS gets
    back = 1.0 if policy in ("atp", "ps") else share.beside
    part = 1.0 if policy == "switchml" else part
    return Answer(
        iteration_s,
        exposed_s=iteration_s - compute_s,
        server_bytes=round(-(-bytes_of(member.model) // FRAGMENT_BYTES) * PACKET_BYTES * (there + back)),
        rows=part * share.rows * len(switches_of(shares.component, job)),
        level=level,
    )
