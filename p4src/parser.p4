// Bytes to headers and back. A packet to or from the ESA port is well-formed if version and both lengths are right;
// every kind carries all lanes, because a packet that turns into another kind in flight may not change its length.

parser EsaParser(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard) {
    state start {
        packet.extract(hdr.ethernet);
        transition select(hdr.ethernet.type) {
            ETHERTYPE_IPV4: parse_ipv4;
            ETHERTYPE_VLAN: disguised;
            ETHERTYPE_SERVICE_VLAN: disguised;
            ETHERTYPE_OLD_VLAN: disguised;
            default: accept;
        }
    }

    state parse_ipv4 {
        packet.extract(hdr.ipv4);
        transition select(hdr.ipv4.ihl, hdr.ipv4.flags, hdr.ipv4.fragment_offset, hdr.ipv4.protocol) {
            (5, 0 &&& IPV4_MORE_FRAGMENTS, 0, PROTOCOL_UDP): parse_udp;
            (_, _, _, PROTOCOL_UDP): disguised;
            default: accept;
        }
    }

    // Behind a VLAN tag, or UDP behind options or in fragments: the receiver's kernel would make an ESA packet of what
    // shows no ESA header here. So it is malformed, whatever its ports.
    state disguised {
        meta.claims_esa = 1;
        transition accept;
    }

    state parse_udp {
        packet.extract(hdr.udp);
        transition select(hdr.udp.dst_port, hdr.udp.src_port) {
            (ESA_PORT, _): parse_esa;
            (_, ESA_PORT): parse_esa;
            default: accept;
        }
    }

    state parse_esa {
        meta.claims_esa = 1;  // also if the packet is too short for the header
        packet.extract(hdr.esa);
        transition select(hdr.esa.version, hdr.udp.length, hdr.ipv4.total_length) {
            (ESA_VERSION, ESA_UDP_LENGTH, ESA_UDP_LENGTH + 20): parse_lanes;
            default: accept;
        }
    }

    state parse_lanes {
#if LANES > 0
        packet.extract(hdr.lanes);
#endif
        meta.well_formed = 1;
        transition accept;
    }
}

#define IPV4_CHECKSUM_INPUT { hdr.ipv4.version, hdr.ipv4.ihl, hdr.ipv4.tos, hdr.ipv4.total_length, hdr.ipv4.id, \
                              hdr.ipv4.flags, hdr.ipv4.fragment_offset, hdr.ipv4.ttl, hdr.ipv4.protocol, \
                              hdr.ipv4.src, hdr.ipv4.dst }

control VerifyIpv4Checksum(inout headers_t hdr, inout metadata_t meta) {
    apply {
        verify_checksum(hdr.ipv4.isValid() && hdr.ipv4.ihl == 5, IPV4_CHECKSUM_INPUT, hdr.ipv4.checksum,
                        HashAlgorithm.csum16);
    }
}

control ComputeIpv4Checksum(inout headers_t hdr, inout metadata_t meta) {
    apply {
        update_checksum(hdr.esa.isValid() || meta.marked == 1, IPV4_CHECKSUM_INPUT, hdr.ipv4.checksum, HashAlgorithm.csum16);
    }
}

control EsaDeparser(packet_out packet, in headers_t hdr) {
    apply {
        packet.emit(hdr.ethernet);
        packet.emit(hdr.ipv4);
        packet.emit(hdr.udp);
        packet.emit(hdr.esa);
#if LANES > 0
        packet.emit(hdr.lanes);
#endif
    }
}
