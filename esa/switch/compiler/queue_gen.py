"""The target where ports have queues: what puts copies between the program's two halves, and takes them out."""

from __future__ import annotations

from esa.switch.compiler.expressions import Scope
from esa.switch.compiler.trace_gen import leave
from esa.switch.compiler.values import indented


def hold_lines(scope: Scope) -> list[str]:
    """`hold(f, pkt, m64, held, port, produced)`: one more copy between the halves."""
    lines = [
        "spare = held.fill[0] - 1",
        f"length = {scope.hidden('INGRESS_LENGTH')}",
        "if spare < 0 or length > held.data.shape[1]:",
        "    m64[LOST] += 1",
        *leave(scope, "lost: no room between ingress and egress"),
        "slot = held.free[spare]",
        "held.fill[0] = spare",
        "held.fresh[held.fill[1]] = slot",
        "held.fill[1] += 1",
        "copy_cells(held.cells[slot], f, CELLS)",
        "copy_bytes(held.data[slot], 0, pkt, 0, length)",
        "held.port[slot], held.length[slot] = port, length",
        *scope.tell("hold", "", "slot", "port"),
        "return produced + 1",
    ]
    return ["def hold(f, pkt, m64, held, port, produced):",
            '    """A copy waits for the egress, as the ingress has left it."""', *indented(lines)]  # fmt: skip


def egress_lines(scope: Scope, unpack: list[str], later_passes: list[str], later: str, output: str) -> list[str]:
    """`egress_step`; `later`, `output`: the arguments for copies of copies, and for what leaves."""
    where = "held.port[slot], held.enqueued_us[slot], held.depth_in[slot], held.depth_out[slot]"
    lines = [
        *unpack,
        "sent = np.int64(0)",
        "for k in range(count):",
        "    slot = rows[k]",
        *indented(scope.tell("leave", "", "now", "slot", "held.depth_in[slot]", "held.enqueued_us[slot]")),
        "    copy_cells(f, held.cells[slot], CELLS)",
        f"    sent = send(f, held.data[slot], m32, m64, {later}, {where}, now, {output}, sent)",
        *indented(later_passes),
        "    held.free[held.fill[0]] = slot",
        "    held.fill[0] += 1",
        "return sent",
    ]
    return [f"def egress_step(state, held, rows, count, now, {output}):",
            '    """Run the egress on the copies in some places; returns how many packets left."""',
            *indented(lines)]  # fmt: skip
