// The aggregators. One pass: read the row's state, let the policy decide, write the row's state, touch the lanes.
// Every register array is read at most once and written at most once, at one index, as a hardware pipeline could.

control Aggregation(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard) {
    register<fragment_id_t>(AGGREGATORS)   row_owner;
    register<bitmap_t>(AGGREGATORS)        row_bitmap;
    register<priority_t>(AGGREGATORS)      row_priority;
    register<exponent_cell_t>(AGGREGATORS) row_exponent;
    register<flags_t>(AGGREGATORS)         row_flags;
    register<timestamp_us_t>(AGGREGATORS)  row_time_us;

    Ownership() ownership;
    Policy() policy;
    Lanes() lanes;

    action name_row() {
        // Masked twice: the reference switch, built for speed, does not check register bounds.
        meta.slot = (meta.policy.pool_base + (hdr.esa.index & meta.policy.pool_mask)) & (AGGREGATORS - 1);
        meta.fragment = hdr.esa.job ++ hdr.esa.epoch ++ hdr.esa.seq;
        meta.contribution = hdr.esa.flags & FLAG_LEVEL1 == 0 ? hdr.esa.bitmap0 : hdr.esa.bitmap1;
    }
    action read_row() {
        exponent_cell_t exponent;
        row_owner.read(meta.row.owner, meta.slot);
        row_bitmap.read(meta.row.bitmap, meta.slot);
        row_priority.read(meta.row.priority, meta.slot);
        row_exponent.read(exponent, meta.slot);
        meta.row.exponent = (exponent_t)exponent;  // BMv2 would not extend the sign
        row_flags.read(meta.row.flags, meta.slot);
        row_time_us.read(meta.row.time_us, meta.slot);
    }
    action write_row() {
        row_owner.write(meta.slot, meta.next.owner);
        row_bitmap.write(meta.slot, meta.next.bitmap);
        row_priority.write(meta.slot, meta.next.priority);
        row_exponent.write(meta.slot, (exponent_cell_t)meta.next.exponent);
        row_flags.write(meta.slot, meta.next.flags);
        row_time_us.write(meta.slot, meta.next.time_us);
    }

    action take() {
        meta.next.owner = meta.fragment;
        meta.next.bitmap = meta.contribution;
        meta.next.priority = hdr.esa.priority;
        meta.next.exponent = hdr.esa.exponent;
        meta.next.flags = hdr.esa.flags & FLAGS_OF_SUM;
        meta.next.time_us = standard.ingress_global_timestamp;
    }
    action merge() {
        meta.next.bitmap = meta.row.bitmap | meta.contribution;
        meta.next.priority = hdr.esa.priority > meta.row.priority ? hdr.esa.priority : meta.row.priority;
        meta.next.exponent = hdr.esa.exponent > meta.row.exponent ? hdr.esa.exponent : meta.row.exponent;
        meta.next.flags = meta.row.flags | (hdr.esa.flags & FLAGS_OF_SUM);
        meta.next.time_us = standard.ingress_global_timestamp;
    }
    action clear() { meta.next.bitmap = 0; }
    action keep() { meta.next.flags = meta.next.flags | ROW_KEPT; }
    action contest() { meta.next.flags = meta.row.flags | FLAG_CONTESTED; }
    action age() {
        meta.aged = 1;
        meta.next.priority = meta.row.priority >> 1;
    }

    apply {
        name_row();
        read_row();
        if (meta.row.bitmap != 0 && (meta.row.owner != meta.fragment || hdr.esa.kind == KIND_REMINDER)) {
            ownership.apply(meta);
        }
        policy.apply(hdr, meta, standard);

        meta.next = meta.row;
        if (meta.verdict == Verdict.SEAT || meta.verdict == Verdict.RESEAT || meta.verdict == Verdict.RECLAIM ||
            meta.verdict == Verdict.SWAP) {
            take();
        } else if (meta.verdict == Verdict.ADD) {
            merge();
        } else if (meta.verdict == Verdict.RELEASE || meta.verdict == Verdict.FETCH) {
            clear();
        } else if (meta.verdict == Verdict.FLUSH) {
            merge();  // for the packet
            meta.flushed = meta.next.bitmap;
            clear();
        } else if (meta.verdict == Verdict.COLLIDE && meta.policy.aging == Aging.HALVE && meta.row.priority != 0) {
            age();
        } else if (meta.verdict == Verdict.COLLIDE && meta.policy.aging == Aging.MARK) {
            contest();
        }
        if (meta.next.bitmap == meta.policy.full &&
            (meta.verdict == Verdict.SEAT || meta.verdict == Verdict.RESEAT || meta.verdict == Verdict.RECLAIM ||
             meta.verdict == Verdict.ADD)) {
            meta.complete = 1;
            if (meta.policy.release == Release.ON_COMPLETION || meta.policy.release == Release.KEPT) { clear(); }
            if (meta.policy.release == Release.KEPT) { keep(); }
        }
        write_row();
        lanes.apply(hdr, meta);
    }
}
