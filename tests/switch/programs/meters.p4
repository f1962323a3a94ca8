// Meters of every kind: by packet and by byte, of an array and of a table's entries; the colours go into the packet.
#include <core.p4>
#include <v1model.p4>
header h_t { bit<8> index; bit<8> kind; bit<8> color; bit<8> color2; }
struct headers_t { h_t h; }
struct metadata_t { bit<2> color; bit<32> wide; }
parser P(packet_in pkt, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    state start { pkt.extract(hdr.h); transition accept; }
}
control V(inout headers_t hdr, inout metadata_t meta) { apply {} }
control I(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) {
    meter(4, MeterType.packets) by_packet;
    meter(4, MeterType.bytes) by_byte;
    direct_meter<bit<2>>(MeterType.packets) of_entry;
    direct_meter<bit<32>>(MeterType.bytes) of_index;
    action police(bit<8> x) { of_entry.read(meta.color); hdr.h.kind = x; }
    action none() { }
    action mark() { of_index.read(meta.wide); }
    table t { key = { hdr.h.kind: exact; } actions = { police; none; } default_action = none(); meters = of_entry; size = 16; }
    table u { key = { hdr.h.index: ternary; } actions = { mark; none; } default_action = none(); meters = of_index; size = 16; }
    apply {
        bit<8> c = 9;
        by_packet.execute_meter((bit<32>) hdr.h.index, hdr.h.color);
        by_byte.execute_meter((bit<32>) (hdr.h.index & 3), c);
        hdr.h.color2 = c;
        t.apply();
        u.apply();
        hdr.h.color = hdr.h.color | (bit<8>) meta.color << 4;
        hdr.h.color2 = hdr.h.color2 | (bit<8>) meta.wide << 4;
        std.egress_spec = 1;
    }
}
control E(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std) { apply { } }
control C(inout headers_t hdr, inout metadata_t meta) { apply {} }
control D(packet_out pkt, in headers_t hdr) { apply { pkt.emit(hdr.h); } }
V1Switch(P(), V(), I(), E(), C(), D()) main;
