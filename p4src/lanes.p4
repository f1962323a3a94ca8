// The sums: one register array per lane, all indexed by the same slot. Each action touches each array at most once
// for reading and once for writing. The lane numbers are two hexadecimal digits. Cells are unsigned: BMv2 does not
// extend the sign of a register that is read into a signed field, a cast does.

#if LANES > 0

#define LANE_REGISTER(n) register<lane_cell_t>(AGGREGATORS) lane_##n;
#define LANE_SEAT(n)     lane_##n.write(meta.slot, (lane_cell_t)hdr.lanes.v##n);
#define LANE_ADD(n)      lane_##n.read(held, meta.slot); hdr.lanes.v##n = hdr.lanes.v##n |+| (lane_t)held; \
                         lane_##n.write(meta.slot, (lane_cell_t)hdr.lanes.v##n);
#define LANE_SWAP(n)     lane_##n.read(held, meta.slot); lane_##n.write(meta.slot, (lane_cell_t)hdr.lanes.v##n); \
                         hdr.lanes.v##n = (lane_t)held;
#define LANE_FETCH(n)    lane_##n.read(held, meta.slot); hdr.lanes.v##n = (lane_t)held;

control Lanes(inout headers_t hdr, inout metadata_t meta) {
    FOR_EACH_LANE(LANE_REGISTER)

    action seat() { FOR_EACH_LANE(LANE_SEAT) }
    action add() { lane_cell_t held; FOR_EACH_LANE(LANE_ADD) }
    action swap() { lane_cell_t held; FOR_EACH_LANE(LANE_SWAP) }
    action fetch() { lane_cell_t held; FOR_EACH_LANE(LANE_FETCH) }

    apply {
        if (meta.verdict == Verdict.SEAT || meta.verdict == Verdict.RESEAT || meta.verdict == Verdict.RECLAIM) {
            seat();
        } else if (meta.verdict == Verdict.ADD ||
                   (meta.verdict == Verdict.FLUSH && meta.row.bitmap & meta.contribution == 0)) {
            add();
        } else if (meta.verdict == Verdict.SWAP) {
            swap();
        } else if (meta.verdict == Verdict.ANSWER || meta.verdict == Verdict.FETCH ||
                   meta.verdict == Verdict.FLUSH) {
            fetch();
        }
    }
}

#else

// The payload-free build: the same state machine, nothing to add.
control Lanes(inout headers_t hdr, inout metadata_t meta) {
    apply { }
}

#endif
