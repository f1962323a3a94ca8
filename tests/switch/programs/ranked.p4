// Large tables with priorities: ternary keys, ranges, and IPv6 addresses beside both.
#include <core.p4>
#include <v1model.p4>

header key_t { bit<16> a; bit<32> b; bit<128> c; bit<16> d; bit<8> e; }
header out_t { bit<16> masked; bit<16> within; bit<16> wide; }
struct H { key_t k; out_t o; }
struct M { }

parser P(packet_in p, out H h, inout M m, inout standard_metadata_t s) { state start { p.extract(h.k); transition accept; } }
control V(inout H h, inout M m) { apply {} }
control I(inout H h, inout M m, inout standard_metadata_t s) {
    action masked(bit<16> v) { h.o.masked = v; }
    action within(bit<16> v) { h.o.within = v; }
    action wide(bit<16> v) { h.o.wide = v; }
    action none() { }

    table t_masked { key = { h.k.a: ternary; h.k.b: ternary; } actions = { masked; none; } default_action = none(); size = 1024; }
    table t_within { key = { h.k.a: range; h.k.d: ternary; } actions = { within; none; } default_action = none(); size = 1024; }
    table t_wide { key = { h.k.c: lpm; h.k.d: range; h.k.e: exact; h.k.b: optional; } actions = { wide; none; } default_action = none(); size = 1024; }

    apply {
        h.o.setValid();
        h.o.masked = 0; h.o.within = 0; h.o.wide = 0;
        s.egress_spec = 1;
        t_masked.apply(); t_within.apply(); t_wide.apply();
    }
}
control E(inout H h, inout M m, inout standard_metadata_t s) { apply {} }
control C(inout H h, inout M m) { apply {} }
control D(packet_out p, in H h) { apply { p.emit(h); } }
V1Switch(P(), V(), I(), E(), C(), D()) main;
