// Whole elements of a stack at an index from the packet, written to, made valid and invalid: more than BMv2 loads.
#include <core.p4>
#include <v1model.p4>

header pick_t { bit<8> to; bit<8> of; bit<8> what; }
header item_t { bit<16> name; bit<80> value; }
struct H { pick_t pick; item_t[4] items; }
struct M { }

parser P(packet_in p, out H h, inout M m, inout standard_metadata_t s) {
    state start { p.extract(h.pick); transition items; }
    state items { p.extract(h.items.next); transition select(h.items.last.name) { 0: accept; default: items; } }
}
control V(inout H h, inout M m) { apply {} }
control I(inout H h, inout M m, inout standard_metadata_t s) {
    apply {
        s.egress_spec = 1;
        if (h.pick.what == 1) { h.items[h.pick.to] = h.items[h.pick.of]; }
        if (h.pick.what == 2) { h.items[h.pick.to].setInvalid(); }
        if (h.pick.what == 3) { h.items[h.pick.to].setValid(); h.items[h.pick.to].name = 3; }
    }
}
control E(inout H h, inout M m, inout standard_metadata_t s) { apply {} }
control C(inout H h, inout M m) { apply {} }
control D(packet_out p, in H h) { apply { p.emit(h); } }
V1Switch(P(), V(), I(), E(), C(), D()) main;
