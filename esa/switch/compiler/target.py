"""The target's own part of the generated module: what simple_switch does around parser, controls and deparser.

`step(state, data, length, port, first, count, now_us, out_data, out_length, out_port)` runs packets first .. count of a
batch and returns how many packets it wrote; m64[CONSUMED] says where it stopped. It stops early only when the output
batch may not hold all copies of the next packet.

Where ports have queues, the module has its two halves in place of `step`, and whoever calls them is the traffic manager
between them (`runtime/queues.py`): `ingress_step(state, held, data, length, port, first, count, now_us)` leaves every
copy in a place of `held`, as the ingress left it; `egress_step(state, held, rows, count, now_us, out_data, out_length,
out_port)` runs the egress on the copies in some places, and frees these.
"""

from __future__ import annotations

from esa.switch.compiler.clone_gen import class_lines, copy_list, limit_lines, makes_clones
from esa.switch.compiler.expressions import Scope
from esa.switch.compiler.primitives import DROP_PORT
from esa.switch.compiler.program import Field, Primitive, standard_field
from esa.switch.compiler.queue_gen import egress_lines, hold_lines
from esa.switch.compiler.trace_gen import leave, traced
from esa.switch.compiler.values import indented
from esa.switch.errors import UnsupportedError

STATE = 'State = namedtuple("State", ["f", "g", "m32", "m64", "later", "later_bytes", "later_port"])'
# instance_type in simple_switch
INGRESS_CLONE, EGRESS_CLONE, RECIRCULATED, REPLICATED, RESUBMITTED = 1, 2, 4, 5, 6
# Copies that wait inside the switch for another pass at one time, per packet on the wire; what comes on top is lost.
LATER = 64
LATER_BYTES = 16384
AHEAD_IN, AHEAD_OUT = 3, 8  # packets and rows of the output that are fetched so long before their turn: see ask_for
ENQUEUED = ("enqueued", "depth_in", "depth_out")  # of a copy that waited: when it came, what waited then and waits now
# BMv2 would recirculate for ever. A packet on the wire has so many passes here, its copies' included; what would go on
# is given up, and counted in m64[GIVEN_UP].
PASSES = 4096
_FAILED = "dropped: an assert() or assume() does not hold"
OUTPUT = "out_data, out_length, out_port"
LATER_PLACES = "later, later_bytes, later_port"


def name_places(scope: Scope) -> None:
    """Give the places that the text below names their names, before parts of the program can take them."""
    for at, name in enumerate(("LOST", "LARGEST_GROUP", "FAILED_ASSERTS", "CONSUMED", "GIVEN_UP")):
        scope.constant(name, scope.layout.lost + at)
    scope.constant("CELLS", scope.layout.n_cells)
    scope.constant("GROUPS", scope.layout.groups)
    scope.constant("QUEUE_DEPTH", scope.layout.queue_depth)
    scope.constant("CLONES", scope.layout.clones)
    if scope.layout.clock is not None:
        scope.constant("CLOCK", scope.layout.clock)


class _Target:
    def __init__(self, scope: Scope, queues: bool, priorities: int) -> None:
        self.scope = scope
        self.queues = queues
        self.priorities = priorities
        # What a pass has to do with a copy that leaves the ingress, and where it goes.
        self.output = "held" if queues else OUTPUT
        self.forward = (
            "hold({}, pkt, m64, held, {}, produced)"
            if queues
            else f"send({{}}, pkt, m32, m64, {LATER_PLACES}, {{}}, now, {OUTPUT}, produced)"
        )
        ops = {p.op for action in scope.program.actions.values() for p in action.primitives}
        self.clone_ingress = makes_clones(scope.program, scope.program.ingress)
        self.clone_egress = makes_clones(scope.program, scope.program.egress)
        self.resubmit = "resubmit" in ops
        self.recirculate = "recirculate" in ops
        self.truncate = "truncate" in ops
        self.fails = bool(ops & {"assert", "assume"})
        self.later = self.clone_egress or self.resubmit or self.recirculate
        for name in ("ingress_port", "packet_length", "instance_type", "egress_spec", "egress_port"):
            if Field("standard_metadata", name) not in scope.layout.cells:
                raise UnsupportedError(f"standard_metadata.{name} is missing: this is no v1model program")
        for helper in ("clear_cells", "copy_cells", "copy_bytes", "ask_for"):
            scope.helpers.add(helper)

    def std(self, name: str, vector: str = "f") -> str | None:
        """The cell of a field of the standard metadata, if the program has it."""
        target = standard_field(self.scope.program, name)
        if target not in self.scope.layout.cells:
            return None
        return f"{vector}[{self.scope.cell(target)}]"

    def set(self, name: str, value: str, vector: str = "f") -> list[str]:
        """A line that sets a field of the standard metadata, cut to its width, if the program has it."""
        place = self.std(name, vector)
        if place is None:
            return []
        bits = self.scope.program.field_type(standard_field(self.scope.program, name)).bits
        return [f"{place} = {value} & {hex((1 << bits) - 1)}" if bits < 64 else f"{place} = {value}"]

    def hidden(self, name: str) -> str:
        return self.scope.hidden(name)

    def tell(self, hook: str, site: object, *args: str) -> list[str]:
        return self.scope.tell(hook, site, *args)

    def clear_metadata(self) -> str:
        """Zero the metadata of a copy in g; the cells before it, the parser's cursor among them, stay."""
        first = min(self.scope.layout.cells.values())
        return f"clear_cells(g, {first}, {self.scope.layout.n_metadata - first})"

    # --- functions ----------------------------------------------------------------------------------------------

    def start(self) -> list[str]:
        lines = [
            "clear_cells(f, 0, CELLS)",
            f"{self.hidden('INGRESS_LENGTH')} = size",
            f"{self.hidden('LENGTH')} = size",
            f"{self.hidden('TRUNCATE')} = 0x7fffffff",
            *self.set("packet_length", "size"),
        ]
        return ["def start(f, size):", '    """Empty the vector for a packet of `size` bytes."""', *indented(lines)]

    def send(self) -> list[str]:
        """Egress, deparser."""
        hidden = self.hidden
        size = ["size = headers_size(f)", f"payload = {hidden('INGRESS_LENGTH')} - {hidden('CURSOR')}",
                f"limit = {hidden('TRUNCATE')}"]  # fmt: skip
        lines: list[str] = []
        if (priority := self.std("priority")) is not None:
            too_high = "!= 0" if self.priorities == 1 else f">= {self.priorities}"
            # simple_switch has one queue per port unless told otherwise, and drops what asks for another
            lines += [
                f"if {priority} {too_high}:",
                *leave(self.scope, "dropped: no queue of its port has its priority"),
            ]
        depth = "m64[QUEUE_DEPTH + (port & 511)]"
        enqueued, depth_in, depth_out = ENQUEUED if self.queues else ("now", depth, depth)
        lines += self.set("enq_timestamp", enqueued) + self.set("enq_qdepth", depth_in)
        lines += self.set("deq_timedelta", f"now - {enqueued}" if self.queues else "0")
        lines += self.set("deq_qdepth", depth_out)
        if priority is not None and (qid := Field("queueing_metadata", "qid")) in self.scope.layout.cells:
            lines.append(f"{self.scope.place(qid)} = {priority}")
        lines += self.set("egress_global_timestamp", "now") + self.set("egress_port", "port")
        lines += self.set("egress_spec", str(DROP_PORT + 1)) + self.set("packet_length", hidden("LENGTH"))
        lines += [*self.tell("egress", "", "f", "port"), "egress(f, m32, m64)", f"{hidden('EXIT')} = 0"]
        if self.clone_egress:
            lines += self._clone_egress()
        lines += [
            f"if {self.std('egress_spec')} == {DROP_PORT}:",
            *leave(self.scope, "dropped at the end of the egress"),
        ]
        if self.fails:
            lines += [f"if {hidden('FAILED')} != 0:", "    m64[FAILED_ASSERTS] += 1", *leave(self.scope, _FAILED)]
        lines += traced(self.scope, Primitive("update checksums", ()), ["update_checksums(f, pkt)"])
        if self.scope.program.deparse_primitives:
            lines.append("deparse_primitives(f, m32, m64)")
        lines += size
        if self.recirculate:
            lines += self._recirculate()
        lines += [
            "if produced >= out_length.shape[0] or size + payload > out_data.shape[1]:",
            "    m64[LOST] += 1",
            *leave(self.scope, "lost: no room in the output"),
            "out = out_data[produced]",
            *self.tell("deparse", "", "f", "payload"),
            "deparse(f, out)",
            f"copy_bytes(out, size, pkt, {hidden('CURSOR')}, payload)",
            "out_length[produced] = min(size + payload, limit)",
            "out_port[produced] = port",
            f"ask_for(out_data, produced + {AHEAD_OUT}, size + payload)",
            *self.tell("out", "", "port", "out", "out_length[produced]"),
            "return produced + 1",
        ]
        places = ", ".join(("port", *ENQUEUED)) if self.queues else "port"
        args = f"f, pkt, m32, m64, {LATER_PLACES}, {places}, now, {OUTPUT}, produced"
        about = '    """Egress and deparser for one copy; returns how many packets are written."""'
        return [f"def send({args}):", about, *indented(lines)]

    def _enqueue(self, fill: list[str]) -> list[str]:
        """Put one more packet behind those that wait inside the switch.

        They are a ring: later[0, 0] have come, later[0, 1] are gone; that one keeps its place whose pass is under way.
        """
        return [
            f"if later[0, 0] - later[0, 1] < {LATER}:",
            f"    slot = 1 + later[0, 0] % {LATER}",
            "    later[0, 0] += 1",
            *indented(fill),
            "else:",
            "    m64[LOST] += 1",
            *indented(self.tell("end", "lost: too many copies wait for another pass")),
        ]

    def _unasked(self, vector: str) -> list[str]:
        """Lines that take from a copy what was asked for the packet, and is not the copies' in BMv2."""
        lines = [f"{vector}{self.hidden('RECIRCULATE')[1:]} = 0"] if self.recirculate else []
        return [*lines, *([f"{vector}{self.hidden('TRUNCATE')[1:]} = 0x7fffffff"] if self.truncate else [])]

    def _clone_egress(self) -> list[str]:
        hidden = self.hidden
        fill = [
            "g = later[slot]",
            "copy_cells(g, f, CELLS)",
            self.clear_metadata(),
            *self._unasked("g"),
            *limit_lines(self.scope, "g"),
            "preserve(g, f, which)",
            *self.set("instance_type", str(EGRESS_CLONE), "g"),
            *self.set("egress_rid", "m64[node + 1]", "g"),
            *self._class_of_service(),
            "later_port[slot] = m64[node]",
            f"copy_bytes(later_bytes[slot], 0, pkt, 0, {hidden('INGRESS_LENGTH')})",
        ]
        return [
            f"if {hidden('CLONE')} != 0:",
            f"    session = {hidden('CLONE')} & 0x7fff",
            f"    which = {hidden('CLONE_LIST')}",
            f"    {hidden('CLONE')} = 0",
            *indented(self.tell("clone", "egress", "session", "m64[CLONES + 2 * session + 1]")),
            "    for copy in range(m64[CLONES + 2 * session + 1]):",
            "        node = m64[CLONES + 2 * session] + 2 * copy",
            *indented(self.tell("copy", "later", "m64[node]", "m64[node + 1]"), 2),
            *indented(self._enqueue(fill), 2),
        ]

    def _class_of_service(self) -> list[str]:
        priority = self.std("priority", "g")
        return [] if self.priorities == 1 or priority is None else class_lines(self.scope, priority)

    def _recirculate(self) -> list[str]:
        fill = [
            "deparse(f, later_bytes[slot])",
            f"copy_bytes(later_bytes[slot], size, pkt, {self.hidden('CURSOR')}, payload)",
            "total = size + payload" if self.truncate else "total = min(size + payload, limit)",
            "start(later[slot], total)",
            f"preserve(later[slot], f, {self.hidden('RECIRCULATE')})",
            *self.set("instance_type", str(RECIRCULATED), "later[slot]"),
            *self.set("packet_length", "total", "later[slot]"),
            "later_port[slot] = -1",
            *self.tell("end", "recirculated"),
        ]
        return [
            f"if {self.hidden('RECIRCULATE')} != 0 and size + payload <= {LATER_BYTES}:",
            *indented(self._enqueue(fill)),
            "    return produced",
        ]

    def one_pass(self) -> list[str]:
        """Parser, ingress, and what the ingress decided."""
        hidden, send = self.hidden, self.forward
        group = self.std("mcast_grp")
        lines = [*self.tell("part", "parser"), "parse(f, pkt, m32, m64)", "verify_checksums(f, pkt)"]
        if any(checksum.verify for checksum in self.scope.program.checksums):
            lines += self.tell("checked", "", hidden("CHECKSUM_ERROR"))
        lines += self.set("parser_error", hidden("ERROR")) + self.set("checksum_error", hidden("CHECKSUM_ERROR"))
        lines += [*self.tell("part", "ingress"), "ingress(f, m32, m64)", f"{hidden('EXIT')} = 0"]
        if self.fails:
            lines += [f"if {hidden('FAILED')} != 0:", "    m64[FAILED_ASSERTS] += 1", *leave(self.scope, _FAILED)]
        if self.clone_ingress:
            lines += [
                f"if {hidden('CLONE')} != 0:",
                f"    session = {hidden('CLONE')} & 0x7fff",
                f"    {hidden('CLONE')} = 0",
                *indented(self.tell("clone", "ingress", "session", "m64[CLONES + 2 * session + 1]")),
                "    for copy in range(m64[CLONES + 2 * session + 1]):",
                "        node = m64[CLONES + 2 * session] + 2 * copy",
                *indented(self.tell("copy", "", "m64[node]", "m64[node + 1]"), 2),
                f"        start(g, {hidden('INGRESS_LENGTH')})",
                *indented(limit_lines(self.scope, "g"), 2),
                f"        {self.std('ingress_port', 'g')} = {self.std('ingress_port')}",
                *indented(self.tell("part", "parser, for the clone"), 2),
                "        parse(g, pkt, m32, m64)",
                f"        {self.clear_metadata()}",
                f"        preserve(g, f, {hidden('CLONE_LIST')})",
                *indented(self.set("instance_type", str(INGRESS_CLONE), "g"), 2),
                *indented(self.set("egress_rid", "m64[node + 1]", "g"), 2),
                *indented(self._class_of_service(), 2),
                f"        produced = {send.format('g', 'm64[node]')}",
            ]
        if self.scope.program.digests:
            asked = hidden("DIGEST")
            lines += [f"if {asked} != 0:", *indented(self.tell("digest", "", "f", asked)), "    learn(f, m64)"]
        if self.resubmit:
            fill = [
                "start(later[slot], size)",
                f"preserve(later[slot], f, {hidden('RESUBMIT')})",
                *self.set("instance_type", str(RESUBMITTED), "later[slot]"),
                *self.set("packet_length", "size", "later[slot]"),
                "later_port[slot] = -1",
                "copy_bytes(later_bytes[slot], 0, pkt, 0, size)",
                *self.tell("end", "resubmitted"),
            ]
            lines += [
                f"size = {hidden('INGRESS_LENGTH')}",
                f"if {hidden('RESUBMIT')} != 0 and size <= {LATER_BYTES}:",
                *indented(self._enqueue(fill)),
                "    return produced",
            ]
        one = [
            f"port = {self.std('egress_spec')}",
            f"if port == {DROP_PORT}:",
            *leave(self.scope, "dropped at the end of the ingress"),
            *self.set("instance_type", "0"),
        ]
        if group is None:
            lines += [*one, f"return {send.format('f', 'port')}"]
        else:
            lines += [  # with one call of `send`, so that it can be made part of this
                "node, copies = np.int64(-1), np.int64(1)",
                f"if {group} != 0:",
                *indented([*self.set("instance_type", str(REPLICATED)), *self._unasked("f")]),
                "    port = np.int64(0)",
                f"    node = m64[GROUPS + 2 * {group}]",
                f"    copies = m64[GROUPS + 2 * {group} + 1]",
                *indented(self.tell("group", "", group, "copies")),
                "else:",
                *indented(one),
                "for copy in range(copies):",
                "    vector = f",
                "    if node >= 0:",
                *indented(self.tell("copy", "", "m64[node]", "m64[node + 1]"), 2),
                "        port = m64[node]",
                *indented(self.set("egress_rid", "m64[node + 1]"), 2),
                "        node += 2",
                "        if copy + 1 < copies:",
                "            copy_cells(g, f, CELLS)",
                "            vector = g",
                f"    produced = {send.format('vector', 'port')}",
                "return produced",
            ]
        args = f"f, g, pkt, m32, m64, {LATER_PLACES}, now, {self.output}, produced"
        return [f"def one_pass({args}):", '    """Parser, ingress, replication of the packet that `start` prepared."""',
                *indented(lines)]  # fmt: skip

    def _unpack(self) -> list[str]:
        return [
            "f, g, m32, m64 = state.f, state.g, state.m32, state.m64",
            f"{LATER_PLACES} = state.later, state.later_bytes, state.later_port",
            "produced = np.int64(0)",
            *(["m64[CLOCK] = now"] if self.scope.layout.clock is not None else []),
        ]

    def _later_passes(self) -> list[str]:
        """What waits inside the switch goes once more through ingress, or on to its port."""
        if not self.later:
            return []
        return [
            f"while later[0, 1] < later[0, 0] and later[0, 1] < {PASSES}:",
            f"    at = 1 + later[0, 1] % {LATER}",
            "    pkt = later_bytes[at]",
            "    copy_cells(f, later[at], CELLS)",
            *indented(self.tell("again", "", "later_port[at]", "pkt", self.hidden("INGRESS_LENGTH"))),
            "    if later_port[at] < 0:",
            f"        produced = one_pass(f, g, pkt, m32, m64, {LATER_PLACES}, now, {self.output}, produced)",
            "    else:",
            f"        produced = {self.forward.format('f', 'later_port[at]')}",
            "    later[0, 1] += 1",
            "m64[GIVEN_UP] += later[0, 0] - later[0, 1]",
            "later[0, 0] = 0",
            "later[0, 1] = 0",
        ]

    def step(self) -> list[str]:
        room = "out_length.shape[0]"
        about = "Run packets first .. count; returns how many packets left. See compiler/target.py."
        if self.queues:
            room = "produced + held.fill[0]"
            about = "Run packets first .. count up to the egress; returns how many copies are held."
        lines = [
            *self._unpack(),
            "k = first",
            "while k < count:",
            f"    if k + {AHEAD_IN} < count:",
            f"        ask_for(data, k + {AHEAD_IN}, np.int64(length[k + {AHEAD_IN}]))",
            f"    if produced > 0 and produced + m64[LARGEST_GROUP] > {room}:",
            "        break",
            "    start(f, np.int64(length[k]))",
            *indented(self.set("ingress_port", "np.int64(port[k])")),
            *indented(self.set("ingress_global_timestamp", "now")),
            *indented(self.tell("packet", "", "now", "port[k]", "data[k]", "length[k]")),
            f"    produced = one_pass(f, g, data[k], m32, m64, {LATER_PLACES}, now, {self.output}, produced)",
            *indented(self._later_passes()),
            "    k += 1",
            "m64[CONSUMED] = k",
            "return produced",
        ]
        name = "ingress_step" if self.queues else "step"
        return [f"def {name}(state, {'held, ' * self.queues}data, length, port, first, count, now"
                f"{'' if self.queues else ', ' + OUTPUT}):", f'    """{about}"""', *indented(lines)]  # fmt: skip

    def functions(self) -> list[list[str]]:
        if self.queues:
            out = [self.start(), hold_lines(self.scope), self.send(), self.one_pass(), self.step()]
            out.append(egress_lines(self.scope, [*self._unpack()], self._later_passes(), LATER_PLACES, OUTPUT))
        else:
            out = [self.start(), self.send(), self.one_pass(), self.step()]
        if self.later or self.clone_ingress:
            out.insert(0, copy_list(self.scope))
        return out


ENTRIES = {False: ("step",), True: ("ingress_step", "egress_step")}  # by whether ports have queues: the last functions


def functions(scope: Scope, queues: bool, priorities: int = 1) -> list[list[str]]:
    """The functions of the target for this program; the last are its `ENTRIES`."""
    return _Target(scope, queues, priorities).functions()
