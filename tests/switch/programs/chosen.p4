// Headers that the packet chooses: unions, one of two headers, elements of a stack at an index from the packet.
#include <core.p4>
#include <v1model.p4>

header pick_t { bit<8> kind; bit<8> index; bit<8> other; bit<8> what; }
header four_t { bit<32> address; }
header six_t { bit<128> address; }
header item_t { bit<16> name; bit<80> value; }
header end_t { bit<8> four; bit<8> six; bit<8> count; bit<8> found; bit<16> name; }
header_union address_t { four_t four; six_t six; }
struct H { pick_t pick; address_t from; address_t to; item_t[4] items; item_t left; item_t right; end_t end; }
struct M { item_t kept; }

parser P(packet_in p, out H h, inout M m, inout standard_metadata_t s) {
    state start {
        p.extract(h.pick);
        transition select(h.pick.kind[1:0]) { 0: four; 1: six; default: items; }
    }
    state four { p.extract(h.from.four); transition items; }
    state six { p.extract(h.from.six); transition items; }
    state items {
        p.extract(h.items.next);
        transition select(h.items.last.name) { 0: accept; 7: left; default: items; }
    }
    state left { p.extract(h.left); p.extract(h.right); transition accept; }
}
control V(inout H h, inout M m) { apply {} }
control I(inout H h, inout M m, inout standard_metadata_t s) {
    action choose() { if (h.left.value > h.right.value) { h.right = h.left; } }
    apply {
        h.end.setValid();
        h.end.name = 0; h.end.found = 0; h.end.count = 0;
        if (h.pick.what[0:0] == 1) { h.to = h.from; }
        if (h.pick.what[1:1] == 1) { h.from.six.setValid(); h.from.six.address = 5; }
        if (h.pick.what[2:2] == 1) { h.from.four.setValid(); h.from.four.address = 9; }
        if (h.pick.what[3:3] == 1) { h.to.four.setInvalid(); }
        if (h.pick.other < 4) {
            if (h.pick.what[5:5] == 1) { h.left = h.items[h.pick.other]; }
        }
        if (h.left.isValid() && h.right.isValid()) {
            choose();
            m.kept = h.right;
            h.end.name = m.kept.name;
        }
        h.end.four = 0; h.end.six = 0;
        if (h.from.four.isValid()) { h.end.four = 1; }
        if (h.from.six.isValid()) { h.end.six = 1; }
        if (h.to.isValid()) { h.end.found = 1; }
        if (h.from.isValid()) { h.end.found = h.end.found | 2; }
        s.egress_spec = 1;
    }
}
control E(inout H h, inout M m, inout standard_metadata_t s) { apply {} }
control C(inout H h, inout M m) { apply {} }
control D(packet_out p, in H h) { apply { p.emit(h.pick); p.emit(h.from); p.emit(h.to); p.emit(h.items); p.emit(h.left); p.emit(h.right); p.emit(h.end); } }
V1Switch(P(), V(), I(), E(), C(), D()) main;
