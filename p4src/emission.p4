// What leaves, and to whom: the packet in hand becomes what the verdict says. (An ingress clone would carry the packet
// as it arrived, so what is evicted leaves in the packet that evicted it.)

control Emission(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard) {
    // The row's content becomes the packet.
    action row_to_packet() {
        hdr.esa.flags = meta.row.flags;
        hdr.esa.priority = meta.row.priority;
        hdr.esa.exponent = meta.row.exponent;
        hdr.esa.job = meta.row.owner[63:48];
        hdr.esa.epoch = meta.row.owner[47:32];
        hdr.esa.seq = meta.row.owner[31:0];
        hdr.esa.index = 0;
    }

    // And goes to its owner's PS.
    action partial_to_owner() {
        hdr.ethernet.dst = meta.owner.server_mac;
        hdr.ipv4.dst = meta.owner.server_ip;
        hdr.ipv4.src = meta.owner.switch_ip;
        hdr.udp.dst_port = ESA_PORT;
        hdr.udp.src_port = ESA_PORT;
        hdr.esa.kind = KIND_PARTIAL;
        hdr.esa.flags = hdr.esa.flags | (meta.owner.level1 == 1 ? FLAG_LEVEL1 : 8w0);
        hdr.esa.bitmap0 = meta.owner.level1 == 1 ? 0xffffffff : meta.row.bitmap;
        hdr.esa.bitmap1 = meta.owner.level1 == 1 ? meta.row.bitmap : meta.owner.bitmap1;
    }

    // The complete sum becomes the packet.
    action complete_header() {
        hdr.esa.flags = (meta.next.flags & FLAGS_OF_SUM) | (hdr.esa.flags & FLAG_LEVEL1);
        hdr.esa.priority = meta.next.priority;
        hdr.esa.exponent = meta.next.exponent;
    }
    // A RESEND with the row's sum: a partial, and still its sender's, who lacks the result.
    action flushed_sum() {
        hdr.esa.kind = KIND_PARTIAL;
        hdr.esa.flags = (meta.next.flags & FLAGS_OF_SUM) | (hdr.esa.flags & (FLAG_LEVEL1 | FLAG_RESEND));
        hdr.esa.priority = meta.next.priority;
        hdr.esa.exponent = meta.next.exponent;
        hdr.esa.bitmap0 = hdr.esa.flags & FLAG_LEVEL1 == 0 ? meta.flushed : 0xffffffff;
        hdr.esa.bitmap1 = hdr.esa.flags & FLAG_LEVEL1 == 0 ? hdr.esa.bitmap1 : meta.flushed;
    }
    action full_bitmap() {
        hdr.esa.bitmap0 = hdr.esa.flags & FLAG_LEVEL1 == 0 ? meta.policy.full : 0xffffffff;
        hdr.esa.bitmap1 = hdr.esa.flags & FLAG_LEVEL1 == 0 ? hdr.esa.bitmap1 : meta.policy.full;
    }
    action from_server() {
        hdr.esa.kind = KIND_RESULT;
        hdr.esa.flags = hdr.esa.flags & FLAGS_OF_SUM;
        hdr.ethernet.src = meta.policy.server_mac;
        hdr.ipv4.src = meta.policy.server_ip;
        hdr.udp.src_port = ESA_PORT;
    }
    action to_sender() {
        hdr.ethernet.dst = hdr.ethernet.src;
        hdr.ipv4.dst = hdr.ipv4.src;
        hdr.udp.dst_port = hdr.udp.src_port;
        standard.egress_spec = standard.ingress_port;
    }
    action to_workers() { standard.mcast_grp = meta.policy.group; }
    action sum_to_server() { hdr.esa.kind = KIND_PARTIAL; }
    action sum_to_root() {
        hdr.esa.flags = (hdr.esa.flags & FLAGS_OF_SUM) | FLAG_LEVEL1;
        hdr.ipv4.src = meta.policy.switch_ip;
        hdr.udp.src_port = ESA_PORT;
    }
    action miss() {
        hdr.esa.kind = KIND_MISS;
        hdr.ipv4.src = meta.policy.switch_ip;
    }
    action collision() { hdr.esa.flags = hdr.esa.flags | FLAG_COLLISION; }
    action drop() { mark_to_drop(standard); }

    apply {
        hdr.udp.checksum = 0;

        if (meta.verdict == Verdict.SWAP || meta.verdict == Verdict.FETCH) {
            row_to_packet();
            partial_to_owner();
            // Preempted: its workers are told by the PS that rows are scarce.
            if (meta.verdict == Verdict.SWAP) { collision(); }
            meta.to_destination = 1;
        } else if (meta.verdict == Verdict.FLUSH) {
            flushed_sum();
            meta.to_destination = 1;
        } else if (meta.complete == 1 || meta.verdict == Verdict.ANSWER) {
            if (meta.verdict != Verdict.ALONE) { complete_header(); }
            full_bitmap();
            if (meta.policy.emit == Emit.TO_SERVER) {
                sum_to_server();
                meta.to_destination = 1;
            } else if (meta.policy.emit == Emit.TO_ROOT) {
                sum_to_root();
                meta.to_destination = 1;
            } else {
                bool answer = meta.verdict == Verdict.ANSWER;
                if (answer) { to_sender(); } else { to_workers(); }
                from_server();
            }
        } else if (meta.verdict == Verdict.MISS) {
            to_sender();
            miss();
        } else if (meta.verdict == Verdict.COLLIDE) {
            collision();
            meta.to_destination = 1;
        } else if (meta.kind == KIND_RESULT && meta.policy.group != 0 && meta.flags & FLAG_ANSWER == 0 &&
                   meta.role == Role.SERVER) {
            to_workers();
        } else if (meta.verdict == Verdict.SEAT || meta.verdict == Verdict.RESEAT || meta.verdict == Verdict.RECLAIM ||
                   meta.verdict == Verdict.ADD || (meta.verdict == Verdict.DUPLICATE && meta.flags & FLAG_RESEND == 0)) {
            // A RESEND that the row has already goes on to the PS: the row may be what is left after others had the
            // result, and nobody would complete it.
            drop();
        } else {
            meta.to_destination = 1;
        }
    }
}
