// Four tables, one of each kind of match, for 100,000 entries each: what none has an entry for is dropped.
#include <core.p4>
#include <v1model.p4>

header ethernet_t {
    bit<48> dst;
    bit<48> src;
    bit<16> type;
}

header ipv4_t {
    bit<4> version;
    bit<4> ihl;
    bit<8> tos;
    bit<16> length;
    bit<16> id;
    bit<16> fragment;
    bit<8> ttl;
    bit<8> protocol;
    bit<16> checksum;
    bit<32> src;
    bit<32> dst;
}

struct headers_t {
    ethernet_t ethernet;
    ipv4_t ipv4;
}

struct metadata_t {}

parser LargeParser(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start {
        packet.extract(hdr.ethernet);
        packet.extract(hdr.ipv4);
        transition accept;
    }
}

control LargeVerify(inout headers_t hdr, inout metadata_t meta) {
    apply {}
}

control LargeIngress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    action forward(bit<9> port) {
        std.egress_spec = port;
    }

    table exact_match {
        key = { hdr.ipv4.dst: exact; }
        actions = { forward; @defaultonly NoAction; }
        default_action = NoAction();
        size = 131072;
    }

    table longest_prefix {
        key = { hdr.ipv4.dst: lpm; }
        actions = { forward; @defaultonly NoAction; }
        default_action = NoAction();
        size = 131072;
    }

    table masked {
        key = {
            hdr.ipv4.src: ternary;
            hdr.ipv4.dst: ternary;
            hdr.ipv4.protocol: ternary;
        }
        actions = { forward; @defaultonly NoAction; }
        default_action = NoAction();
        size = 131072;
    }

    table ranges {
        key = { hdr.ipv4.dst: range; }
        actions = { forward; @defaultonly NoAction; }
        default_action = NoAction();
        size = 131072;
    }

    apply {
        mark_to_drop(std);
        exact_match.apply();
        longest_prefix.apply();
        masked.apply();
        ranges.apply();
    }
}

control LargeEgress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    apply {}
}

control LargeCompute(inout headers_t hdr, inout metadata_t meta) {
    apply {}
}

control LargeDeparser(packet_out packet, in headers_t hdr) {
    apply {
        packet.emit(hdr.ethernet);
        packet.emit(hdr.ipv4);
    }
}

V1Switch(LargeParser(), LargeVerify(), LargeIngress(), LargeEgress(), LargeCompute(), LargeDeparser()) main;
