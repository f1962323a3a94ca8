// Congestion: an ESA packet that met a queue above the threshold says so to the workers' windows.

control Congestion(inout headers_t hdr, inout standard_metadata_t standard) {
    action mark_above(bit<19> packets) {
        hdr.esa.flags = standard.deq_qdepth > packets ? hdr.esa.flags | FLAG_ECN : hdr.esa.flags;
    }
    table ecn {
        actions = { mark_above; }
        default_action = mark_above(0x7ffff);
    }

    apply {
        if (hdr.esa.isValid()) { ecn.apply(); }
    }
}
