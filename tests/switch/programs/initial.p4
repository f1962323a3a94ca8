// Entries that the program states, const and not, and a key of a type without a width.
#include <core.p4>
#include <v1model.p4>

header h_t { bit<8> op; bit<8> v; bit<16> w; }
struct H { h_t h; }
struct M {}
parser P(packet_in p, out H h, inout M m, inout standard_metadata_t s) { state start { p.extract(h.h); transition accept; } }
control V(inout H h, inout M m) { apply {} }
control I(inout H h, inout M m, inout standard_metadata_t s) {
    action forward(bit<9> port) { s.egress_spec = port; }
    action set(bit<8> v) { h.h.v = v; }
    table by_error { key = { s.parser_error : exact; } actions = { forward; NoAction; } default_action = forward(3); }
    table initial {
        key = { h.h.op : exact; }
        actions = { set; NoAction; }
        default_action = NoAction();
        entries = { const 1 : set(1); 2 : set(2); }
        size = 16;
    }
    table constant {
        key = { h.h.op : exact; }
        actions = { set; NoAction; }
        default_action = NoAction();
        const entries = { 3 : set(3); }
    }
    apply { by_error.apply(); initial.apply(); constant.apply(); }
}
control E(inout H h, inout M m, inout standard_metadata_t s) { apply {} }
control C(inout H h, inout M m) { apply {} }
control D(packet_out p, in H h) { apply { p.emit(h.h); } }
V1Switch(P(), V(), I(), E(), C(), D()) main;
