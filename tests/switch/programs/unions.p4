// Stacks of header unions: extracted, pushed, popped, copied, compared, with headers that have a varbit or wide fields.
#include <core.p4>
#include <v1model.p4>

header pick_t { bit<8> what; bit<8> last; bit<8> found; bit<8> kept; }
header small_t { bit<8> kind; bit<8> value; }
header large_t { bit<8> kind; bit<88> value; }
header open_t { bit<8> kind; bit<8> size; varbit<80> value; }
header_union item_t { small_t small; large_t large; open_t open; }
struct H { pick_t pick; item_t[3] items; item_t[3] others; }
struct M { bit<32> last; }

parser P(packet_in p, out H h, inout M m, inout standard_metadata_t s) {
    state start { p.extract(h.pick); transition next; }
    state next {
        transition select(p.lookahead<bit<8>>()) { 1: small; 2: large; 3: open; 4: other_small; 5: other_large; default: accept; }
    }
    state small { p.extract(h.items.next.small); transition count; }
    state large { p.extract(h.items.next.large); transition count; }
    state open {
        bit<16> size = p.lookahead<bit<16>>();
        p.extract(h.items.next.open, (bit<32>) size[7:0]);
        transition count;
    }
    state count { m.last = h.items.lastIndex; transition next; }
    state other_small { p.extract(h.others.next.small); transition next; }
    state other_large { p.extract(h.others.next.large); transition next; }
}
control V(inout H h, inout M m) { apply {} }
control I(inout H h, inout M m, inout standard_metadata_t s) {
    apply {
        h.pick.last = (bit<8>) m.last;
        if (h.pick.what == 1) { h.items.push_front(1); }
        if (h.pick.what == 2) { h.items.push_front(2); }
        if (h.pick.what == 3) { h.items.push_front(5); }
        if (h.pick.what == 4) { h.items.pop_front(1); }
        if (h.pick.what == 5) { h.items.pop_front(2); }
        if (h.pick.what == 6) { h.items.pop_front(4); }
        if (h.pick.what == 7) { h.others = h.items; }
        if (h.pick.what == 8) { h.items[1] = h.others[0]; }
        if (h.pick.what == 9) { h.items[2].small.setValid(); h.items[2].small.kind = 1; h.items[0].large.setInvalid(); }
        if (h.pick.what == 10) { h.items[0].large.setValid(); h.items[0].large.kind = 2; h.items[0].large.value = 7; }
        if (h.pick.what == 11) { h.items.pop_front(1); h.items.push_front(1); }
        if (h.pick.what == 12) { h.items[0].small = h.others[1].small; }
        h.pick.found = 0;
        h.pick.kept = 0;
        if (h.items[0].small.isValid()) { h.pick.found = h.pick.found | 1; h.pick.kept = h.items[0].small.value; }
        if (h.items[0].large.isValid()) { h.pick.found = h.pick.found | 2; h.items[0].large.value = h.items[0].large.value + 1; }
        if (h.items[1].open.isValid()) { h.pick.found = h.pick.found | 4; }
        if (h.items[2].large.isValid()) { h.pick.found = h.pick.found | 8; }
        if (h.items[0] == h.items[1]) { h.pick.found = h.pick.found | 16; }
        if (h.items[0] == h.others[0]) { h.pick.found = h.pick.found | 32; }
        s.egress_spec = 1;
    }
}
control E(inout H h, inout M m, inout standard_metadata_t s) { apply {} }
control C(inout H h, inout M m) { apply {} }
control D(packet_out p, in H h) { apply { p.emit(h); } }
V1Switch(P(), V(), I(), E(), C(), D()) main;
