// The sums: one register array per lane, all indexed by the same slot. Each action touches each array at most once
// for reading and once for writing. The lane numbers are two hexadecimal digits. Cells are unsigned: BMv2 does not
// extend the sign of a register that is read into a signed field, a cast does.

#if LANES > 0

#define LANE_REGISTER(n) register<bit<32>>(AGGREGATORS) lane_##n;
#define LANE_SEAT(n)     lane_##n.write(meta.slot, (bit<32>)hdr.lanes.v##n);
#define LANE_ADD(n)      lane_##n.read(held, meta.slot); hdr.lanes.v##n = hdr.lanes.v##n |+| (int<32>)held; \
                         lane_##n.write(meta.slot, (bit<32>)hdr.lanes.v##n);
#define LANE_SWAP(n)     lane_##n.read(held, meta.slot); lane_##n.write(meta.slot, (bit<32>)hdr.lanes.v##n); \
                         hdr.lanes.v##n = (int<32>)held;
#define LANE_FETCH(n)    lane_##n.read(held, meta.slot); hdr.lanes.v##n = (int<32>)held;

control Lanes(inout headers_t hdr, inout metadata_t meta) {
    FOR_EACH_LANE(LANE_REGISTER)

    action seat() { FOR_EACH_LANE(LANE_SEAT) }
    action add() { bit<32> held; FOR_EACH_LANE(LANE_ADD) }
    action swap() { bit<32> held; FOR_EACH_LANE(LANE_SWAP) }
    action fetch() { bit<32> held; FOR_EACH_LANE(LANE_FETCH) }

    apply {
        if (meta.verdict == Verdict.SEAT || meta.verdict == Verdict.RESEAT || meta.verdict == Verdict.RECLAIM) {
            seat();
        } else if (meta.verdict == Verdict.ADD) {
            add();
        } else if (meta.verdict == Verdict.SWAP) {
            swap();
        } else if (meta.verdict == Verdict.ANSWER || meta.verdict == Verdict.FETCH) {
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
