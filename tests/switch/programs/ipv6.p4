// IPv6: longest prefixes, access control and exact matches on addresses, segment routing, checksums over addresses.
#include <core.p4>
#include <v1model.p4>

header eth_t { bit<48> dst; bit<48> src; bit<16> type; }
header ipv6_t { bit<4> version; bit<8> traffic_class; bit<20> flow_label; bit<16> length; bit<8> next_header; bit<8> hop_limit;
                bit<128> src; bit<128> dst; }
header srh_t { bit<8> next_header; bit<8> length; bit<8> routing_type; bit<8> segments_left; bit<8> last_entry; bit<8> flags; bit<16> tag; }
header segment_t { bit<128> address; }
header udp_t { bit<16> sport; bit<16> dport; bit<16> length; bit<16> csum; }
header pair_t { bit<512> key; }
header notes_t { bit<128> before; bit<16> csum; bit<8> acl; bit<8> hit; bit<128> noted; bit<8> left; bit<8> optional_; }
struct H { eth_t eth; ipv6_t ip; srh_t srh; segment_t[4] segments; udp_t udp; pair_t pair; notes_t notes; }
struct M { bit<128> noted; bit<8> acl; bit<8> hit; bit<8> optional_; bit<128> before; bit<16> csum; bit<128> next_segment; }

parser P(packet_in p, out H h, inout M m, inout standard_metadata_t s) {
    state start { p.extract(h.eth); transition select(h.eth.type) { 0x86dd: ip; 0x7777: pair; default: accept; } }
    state pair { p.extract(h.pair); transition accept; }
    state ip {
        p.extract(h.ip);
        transition select(h.ip.dst, h.ip.next_header) {
            (128w0xff020000000000000000000000000000 &&& 128w0xffff0000000000000000000000000000, _): multicast;
            (_, 43): srh;
            (_, 17): udp;
            default: accept;
        }
    }
    state multicast { m.hit = 9; transition accept; }
    state srh { p.extract(h.srh); transition segment; }
    state segment {
        p.extract(h.segments.next);
        transition select(h.segments.last.address) {
            128w0: accept;
            128w0x20010db8000000000000000000000000 &&& 128w0xffffffff000000000000000000000000: segment;
            default: udp;
        }
    }
    state udp { p.extract(h.udp); transition accept; }
}
control V(inout H h, inout M m) { apply {} }
control I(inout H h, inout M m, inout standard_metadata_t s) {
    direct_counter(CounterType.packets_and_bytes) by_route;
    action forward(bit<9> port, bit<48> dst) { by_route.count(); s.egress_spec = port; h.eth.dst = dst; h.ip.hop_limit = h.ip.hop_limit - 1; }
    action rewrite(bit<128> src, bit<8> mark, bit<128> dst) { m.before = h.ip.src; h.ip.src = src; h.ip.dst = dst; m.acl = mark; }
    action note(bit<16> tag, bit<128> value) { m.noted = value; m.csum = tag; }
    action permit(bit<8> rule) { m.acl = rule; }
    action deny() { mark_to_drop(s); }
    action optional_hit(bit<8> value) { m.optional_ = value; }
    table route { key = { h.ip.dst: lpm; } actions = { forward; NoAction; } default_action = NoAction(); size = 256; counters = by_route; }
    table acl { key = { h.ip.src: ternary; h.ip.dst: ternary; h.ip.next_header: ternary; } actions = { permit; rewrite; deny; NoAction; }
        default_action = permit(200); size = 128; }
    table hosts { key = { h.ip.src: exact; h.ip.flow_label: exact; h.ip.dst: exact; } actions = { note; NoAction; } default_action = NoAction(); size = 64; }
    table spans { key = { h.ip.src: range; h.ip.hop_limit: exact; } actions = { permit; NoAction; } default_action = NoAction(); size = 64; }
    table pairs { key = { h.pair.key: exact; } actions = { note; deny; NoAction; } default_action = NoAction(); size = 32; }
    table scoped { key = { h.ip.traffic_class: exact; h.ip.dst: lpm; } actions = { note; NoAction; } default_action = NoAction(); size = 64; }
    table opt { key = { h.ip.dst: optional; h.ip.next_header: optional; } actions = { optional_hit; NoAction; } default_action = NoAction(); size = 16; }
    table fixed { key = { h.ip.dst: lpm; } actions = { note; NoAction; } default_action = NoAction();
        const entries = { 128w0xffffffffffffffffffffffffffffffff: note(1, 128w0xffffffffffffffffffffffffffffffff);
                          128w0xfe80000000000000000000000000000a: note(2, 5); } }
    apply {
        s.egress_spec = 1;
        h.notes.setValid();
        if (h.ip.isValid()) {
            if (h.srh.isValid() && h.srh.segments_left > 0 && h.segments[0].isValid()) {
                h.ip.dst = h.segments[0].address;
                h.srh.segments_left = h.srh.segments_left - 1;
                m.next_segment = h.segments[0].address;
                h.segments.pop_front(1);
                if (h.srh.segments_left == 3) { h.segments.push_front(2); h.segments[0].setValid(); h.segments[0].address = m.next_segment ^ h.ip.src; }
            }
            hosts.apply(); acl.apply(); spans.apply(); fixed.apply(); scoped.apply(); opt.apply();
            if (route.apply().hit) { m.hit = m.hit + 1; }
        } else if (h.pair.isValid()) { pairs.apply(); h.pair.key[300:173] = h.pair.key[127:0]; }
        h.notes.before = m.before; h.notes.csum = m.csum; h.notes.acl = m.acl; h.notes.hit = m.hit; h.notes.noted = m.noted;
        h.notes.left = 0; if (h.srh.isValid()) { h.notes.left = h.srh.segments_left; } h.notes.optional_ = m.optional_;
    }
}
control E(inout H h, inout M m, inout standard_metadata_t s) { apply {} }
control C(inout H h, inout M m) { apply {
    update_checksum_with_payload(h.udp.isValid(), { h.ip.src, h.ip.dst, 16w0, h.udp.length, 24w0, h.ip.next_header, h.udp.sport, h.udp.dport,
        h.udp.length }, h.udp.csum, HashAlgorithm.csum16);
} }
control D(packet_out p, in H h) { apply { p.emit(h.eth); p.emit(h.ip); p.emit(h.srh); p.emit(h.segments); p.emit(h.udp); p.emit(h.pair); p.emit(h.notes); } }
V1Switch(P(), V(), I(), E(), C(), D()) main;
