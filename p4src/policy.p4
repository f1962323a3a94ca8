// Policy: what happens to the row that a packet names. A pure function of the packet, the row and the job's five
// knobs; it reads no register and changes no header. `docs/protocol.md` explains each rule.

control Policy(in headers_t hdr, inout metadata_t meta, in standard_metadata_t standard) {
    action set(Verdict verdict) { meta.verdict = verdict; }

    apply {
        bool same = meta.row.bitmap != 0 && meta.row.owner == meta.fragment;
        bool keeps = meta.policy.release == Release.KEPT;
        bool kept = keeps && meta.row.bitmap == 0 && meta.row.flags & ROW_KEPT != 0 && meta.row.owner == meta.fragment;
        bool only_adds = keeps && hdr.esa.flags & FLAG_RESEND != 0;  // such a RESEND takes no row
        bool flushes = meta.policy.release == Release.ON_ACK_OR_RESEND && hdr.esa.flags & FLAG_RESEND != 0;
        meta.verdict = Verdict.NONE;

        if (hdr.esa.kind == KIND_REMINDER) {
            meta.verdict = same ? Verdict.FETCH : Verdict.MISS;
        } else if (hdr.esa.kind == KIND_RESULT) {
            if (same) { set(Verdict.RELEASE); }
        } else if (flushes) {
            if (same) { set(Verdict.FLUSH); }  // else it goes to the PS as it is
        } else if (meta.contribution == meta.policy.full && (keeps || meta.policy.release == Release.ON_COMPLETION)) {
            meta.complete = 1;
            set(Verdict.ALONE);
        } else if (kept) {
            set(Verdict.ANSWER);
        } else if (meta.row.bitmap == 0) {
            if (!only_adds) { set(Verdict.SEAT); }
        } else if (same) {
            if (meta.row.bitmap & meta.contribution == 0) {
                set(Verdict.ADD);
            } else if (meta.row.bitmap == meta.policy.full) {
                set(Verdict.ANSWER);
            } else {
                set(Verdict.DUPLICATE);
            }
        } else if (only_adds) {
            // Another's row: to the PS.
        } else if (meta.owner.known == 0) {
            set(Verdict.RECLAIM);
        } else {
            // Another's row. Release on reuse: a worker sends seq + 2 spans only after every worker has seq's sum,
            // also where the PS completed it and the row did not.
            bool own_job = meta.row.owner[63:32] == meta.fragment[63:32];
            bool newer = (int<32>)(meta.fragment[31:0] - meta.row.owner[31:0]) > 0;
            bool reuse = own_job && meta.policy.release == Release.ON_REUSE;
            bit<32> coin;
            hash(coin, HashAlgorithm.crc32, 32w0, { meta.fragment, meta.row.owner, meta.contribution }, 32w2);
            timestamp_us_t age_us = standard.ingress_global_timestamp - meta.row.time_us;

            if (reuse) {
                meta.verdict = newer ? Verdict.RESEAT : Verdict.DUPLICATE;
            } else if (meta.policy.ttl_us != 0 && age_us > meta.policy.ttl_us) {
                meta.expired = 1;
                set(Verdict.SWAP);
            } else if ((meta.policy.preempt == Preempt.HIGHER && hdr.esa.priority > meta.row.priority) ||
                       (meta.policy.preempt == Preempt.NOT_LOWER && hdr.esa.priority >= meta.row.priority) ||
                       meta.policy.preempt == Preempt.ALWAYS ||
                       (meta.policy.preempt == Preempt.COIN && coin == 1)) {
                set(Verdict.SWAP);
            } else {
                set(Verdict.COLLIDE);
            }
        }
    }
}
