// Congestion: what met a queue above the threshold says so to its receiver. An ESA packet in its header, which rows and
// PSs hand on with the sum; any other IPv4 packet whose sender understands marks in the two bits for that (RFC 3168).

const bit<8> ECN_BITS = 0x03;  // of ipv4.tos: 0 cannot be marked, 3 is

control Congestion(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard) {
    action mark_above(bit<19> packets) { meta.congested = standard.deq_qdepth > packets ? 1w1 : 1w0; }
    table ecn {
        actions = { mark_above; }
        default_action = mark_above(0x7ffff);
    }

    apply {
        if (hdr.ipv4.isValid()) {
            ecn.apply();
            if (meta.congested == 1) {
                if (hdr.esa.isValid()) {
                    hdr.esa.flags = hdr.esa.flags | FLAG_ECN;
                } else if (hdr.ipv4.tos & ECN_BITS != 0 && hdr.ipv4.ihl == 5) {  // the checksum covers options, too
                    hdr.ipv4.tos = hdr.ipv4.tos | ECN_BITS;
                    meta.marked = 1;
                }
            }
        }
    }
}
