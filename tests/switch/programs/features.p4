// Parser, tables, counters, hashes, stacks, checksums: one of each thing that the target does.
#include <core.p4>
#include <v1model.p4>

error { BadVersion }
header eth_t { bit<48> dst; bit<48> src; bit<16> type; }
header label_t { bit<20> label; bit<3> tc; bit<1> bottom; bit<8> ttl; }
header ip_t { bit<4> version; bit<4> ihl; bit<8> tos; bit<16> len; bit<16> id; bit<3> flags; bit<13> frag; bit<8> ttl;
              bit<8> proto; bit<16> csum; bit<32> src; bit<32> dst; }
header tcp_t { bit<16> sport; bit<16> dport; bit<16> sum; bit<16> tag; }
header out_t { bit<32> crc32; bit<16> crc16; bit<16> csum; bit<16> xor; bit<32> id; bit<16> lookup; bit<8> hit;
               bit<8> error_; bit<8> bad; bit<8> acl; bit<32> length; bit<32> instance; bit<16> rid; bit<16> vlan; bit<16> peeked; }
struct H { eth_t eth; label_t[3] mpls; ip_t ip; tcp_t tcp; out_t o; }
struct M { bit<16> peeked; bit<8> acl; bit<16> lookup; bit<8> hit; bit<1> stop; }

parser P(packet_in p, out H h, inout M m, inout standard_metadata_t s) {
    state start {
        p.extract(h.eth);
        transition select(h.eth.type) { 0x0800: ip; 0x8847: mpls; 0x1200 &&& 0xff00: skip; default: accept; }
    }
    state skip { p.advance(32); m.peeked = p.lookahead<bit<16>>(); transition accept; }
    state mpls {
        p.extract(h.mpls.next);
        transition select(h.mpls.last.bottom) { 0: mpls; 1: ip; }
    }
    state ip {
        bit<4> version = p.lookahead<bit<4>>();
        verify(version == 4, error.BadVersion);
        p.extract(h.ip);
        transition select(h.ip.proto, h.ip.ttl) { (6, _): tcp; (17, 1..3): tcp; default: accept; }
    }
    state tcp { p.extract(h.tcp); transition accept; }
}
control V(inout H h, inout M m) { apply {
    verify_checksum(h.ip.isValid(), { h.ip.version, h.ip.ihl, h.ip.tos, h.ip.len, h.ip.id, h.ip.flags, h.ip.frag, h.ip.ttl,
        h.ip.proto, h.ip.src, h.ip.dst }, h.ip.csum, HashAlgorithm.csum16);
} }
control C(inout H h, inout M m) { apply {
    update_checksum(h.ip.isValid(), { h.ip.version, h.ip.ihl, h.ip.tos, h.ip.len, h.ip.id, h.ip.flags, h.ip.frag, h.ip.ttl,
        h.ip.proto, h.ip.src, h.ip.dst }, h.ip.csum, HashAlgorithm.csum16);
    update_checksum_with_payload(h.tcp.isValid(), { h.ip.src, h.ip.dst, h.tcp.sport, h.tcp.dport, h.tcp.tag }, h.tcp.sum,
        HashAlgorithm.csum16);
} }
control I(inout H h, inout M m, inout standard_metadata_t s) {
    counter(4, CounterType.packets_and_bytes) by_port;
    direct_counter(CounterType.packets_and_bytes) by_route;
    action via(bit<16> tag, bit<9> port) { m.lookup = tag; s.egress_spec = port; }
    action count_via(bit<16> tag, bit<9> port) { by_route.count(); via(tag, port); }
    action permit(bit<8> rule) { m.acl = rule; }
    action deny() { mark_to_drop(s); exit; }
    action group(bit<16> id) { s.mcast_grp = id; }
    table route {
        key = { h.ip.dst: lpm; } actions = { count_via; NoAction; } default_action = NoAction(); counters = by_route;
        const entries = { 0x0a000000 &&& 0xff000000: count_via(1, 1); 0x0a010000 &&& 0xffff0000: count_via(2, 2); 0x0a010203: count_via(3, 3); }
    }
    table acl {
        key = { h.ip.src: ternary; h.tcp.dport: range; h.ip.proto: exact; } actions = { permit; deny; NoAction; }
        default_action = permit(99);
        const entries = {
            (0x01000000 &&& 0xff000000, 80..90, 6): permit(1);
            (_, 85..100, 6): permit(2);
            (0x02000000 &&& 0xff000000, _, 6): deny();
            (_, _, 17): permit(3);
        }
    }
    table flood { key = { h.eth.dst: exact; s.ingress_port: exact; } actions = { group; via; deny; } default_action = via(0, 1);
        const entries = { (0xffffffffffff, 0): group(1); (0x0102030405, 0): via(77, 2); } }
    apply {
        by_port.count((bit<32>)s.ingress_port);
        m.hit = 0;
        h.o.setValid();
        h.o.bad = (bit<8>)s.checksum_error;
        if (s.parser_error == error.NoError) { h.o.error_ = 0; } else if (s.parser_error == error.PacketTooShort) { h.o.error_ = 1; }
        else if (s.parser_error == error.StackOutOfBounds) { h.o.error_ = 2; } else if (s.parser_error == error.BadVersion) { h.o.error_ = 3; }
        else { h.o.error_ = 4; }
        h.o.length = s.packet_length;
        if (h.ip.isValid()) {
            if (route.apply().hit) { m.hit = 1; }
            switch (acl.apply().action_run) { permit: { m.stop = 1; } default: { m.stop = 0; } }
            h.ip.ttl = h.ip.ttl - 1;
        } else { flood.apply(); }
        if (h.mpls[0].isValid()) { h.mpls.pop_front(1); }
        if (h.tcp.isValid() && h.tcp.tag == 0xbeef) { h.mpls.push_front(1); h.mpls[0].setValid(); h.mpls[0].label = 5; h.mpls[0].bottom = 1; h.mpls[0].ttl = 9; h.mpls[0].tc = 2; }
        if (h.tcp.isValid() && h.tcp.tag == 0xdead) { h.ip.setInvalid(); }
        if (h.tcp.isValid() && h.tcp.tag == 0x7777) { truncate(20); }
        if (h.ip.isValid() && h.tcp.isValid()) {
        hash(h.o.crc32, HashAlgorithm.crc32, 32w0, { h.ip.src, h.ip.dst, h.tcp.sport, h.tcp.dport, 3w5, h.ip.flags, 2w1 }, 64w0x100000000);
        hash(h.o.crc16, HashAlgorithm.crc16, 16w0, { h.ip.src, h.ip.dst }, 32w65536);
        hash(h.o.csum, HashAlgorithm.csum16, 16w0, { h.eth.dst, h.eth.src, h.tcp.sport }, 32w65536);
        hash(h.o.xor, HashAlgorithm.xor16, 16w10, { h.eth.dst, h.eth.src, h.eth.type }, 32w1000);
        hash(h.o.id, HashAlgorithm.identity, 32w0, { h.ip.src }, 64w0x100000000);
        }
        h.o.lookup = m.lookup; h.o.hit = m.hit; h.o.acl = m.acl; h.o.peeked = m.peeked;
    }
}
control E(inout H h, inout M m, inout standard_metadata_t s) {
    apply { h.o.instance = s.instance_type; h.o.rid = s.egress_rid; h.o.vlan = (bit<16>)s.packet_length;
            if (s.egress_port == 3 && h.ip.isValid() && h.ip.ttl == 0) { mark_to_drop(s); } }
}
control D(packet_out p, in H h) { apply { p.emit(h.eth); p.emit(h.mpls); p.emit(h.ip); p.emit(h.tcp); p.emit(h.o); } }
V1Switch(P(), V(), I(), E(), C(), D()) main;
