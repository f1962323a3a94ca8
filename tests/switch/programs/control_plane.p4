// Something of everything that P4Runtime can reach: each match kind, constant and preinitialised tables, direct and
// indirect counters, registers of several widths, multicast, clones, packet-in and packet-out.
#include <core.p4>
#include <v1model.p4>

const bit<9> CPU_PORT = 510;

@controller_header("packet_in")
header packet_in_t {
    bit<9> ingress_port;
    bit<7> reason;
}

@controller_header("packet_out")
header packet_out_t {
    bit<9> egress_port;
    bit<7> pad;
}

header ethernet_t {
    bit<48> dst;
    bit<48> src;
    bit<16> type;
}

struct headers_t {
    packet_in_t packet_in;
    packet_out_t packet_out;
    ethernet_t ethernet;
}

struct metadata_t {
    bit<32> scratch;
}

parser ParserImpl(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start {
        transition select(std.ingress_port) {
            CPU_PORT: from_cpu;
            default: ethernet;
        }
    }
    state from_cpu {
        packet.extract(hdr.packet_out);
        transition ethernet;
    }
    state ethernet {
        packet.extract(hdr.ethernet);
        transition accept;
    }
}

control Verify(inout headers_t hdr, inout metadata_t meta) { apply {} }

control MyIngress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    counter(8, CounterType.packets_and_bytes) port_counter;
    direct_counter(CounterType.packets_and_bytes) forward_hits;
    register<bit<32>>(16) words;
    register<bit<7>>(4) narrow;
    register<bit<64>>(4) wide;

    action forward(bit<9> port) { std.egress_spec = port; }
    action multicast(bit<16> group) { std.mcast_grp = group; }
    action to_cpu(bit<7> reason) {
        std.egress_spec = CPU_PORT;
        hdr.packet_in.setValid();
        hdr.packet_in.ingress_port = std.ingress_port;
        hdr.packet_in.reason = reason;
    }
    action mirror(bit<9> port) {
        std.egress_spec = port;
        clone(CloneType.I2E, 7);
    }
    action count_type(bit<32> index) { words.write(index & 15, (bit<32>) hdr.ethernet.type); }
    action drop() { mark_to_drop(std); }

    table exact_dst {
        key = { hdr.ethernet.dst: exact; }
        actions = { forward; multicast; to_cpu; mirror; drop; @defaultonly NoAction; @tableonly count_type; }
        default_action = drop();
        counters = forward_hits;
        size = 4;
    }
    table lpm_src {
        key = { hdr.ethernet.src: lpm; }
        actions = { count_type; NoAction; }
        const default_action = NoAction();
        size = 16;
    }
    table ternary_both {
        key = { std.ingress_port: exact; hdr.ethernet.dst: ternary; hdr.ethernet.type: range; }
        actions = { count_type; NoAction; }
        default_action = NoAction();
        size = 16;
    }
    table optional_type {
        key = { hdr.ethernet.type: optional; }
        actions = { count_type; NoAction; }
        default_action = NoAction();
        size = 16;
    }
    table constant {
        key = { hdr.ethernet.type: exact; }
        actions = { count_type; NoAction; }
        default_action = NoAction();
        const entries = {
            0x0806: count_type(6);
            0x0800: count_type(8);
        }
    }
    table keyless {
        actions = { count_type; NoAction; }
        default_action = NoAction();
    }

    apply {
        port_counter.count((bit<32>) std.ingress_port & 7);
        narrow.write(0, hdr.ethernet.dst[6:0]);
        wide.write(0, 16w0 ++ hdr.ethernet.dst);
        if (hdr.packet_out.isValid()) {
            std.egress_spec = hdr.packet_out.egress_port;
            hdr.packet_out.setInvalid();
        } else {
            lpm_src.apply();
            ternary_both.apply();
            optional_type.apply();
            constant.apply();
            keyless.apply();
            exact_dst.apply();
        }
    }
}

control MyEgress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    apply {
        if (std.egress_rid != 0) { hdr.ethernet.src = (bit<48>) std.egress_rid; }
    }
}

control Compute(inout headers_t hdr, inout metadata_t meta) { apply {} }

control MyDeparser(packet_out packet, in headers_t hdr) {
    apply {
        packet.emit(hdr.packet_in);
        packet.emit(hdr.ethernet);
    }
}

V1Switch(ParserImpl(), Verify(), MyIngress(), MyEgress(), Compute(), MyDeparser()) main;
