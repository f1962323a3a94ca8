// Every operation of the expression language on fields of several widths; one packet in, the results out.
#include <core.p4>
#include <v1model.p4>

header in_t { bit<8> a8; bit<8> b8; bit<32> a; bit<32> b; int<32> c; int<32> d; bit<64> e; bit<64> f; int<16> g; int<16> h; bit<48> t; bit<48> u; }
header out_t {
    bit<32> add; bit<32> sub; bit<32> mul; bit<32> neg; bit<32> inv; bit<32> or_; bit<32> and_; bit<32> xor;
    bit<32> shl; bit<32> shr; bit<32> uadd; bit<32> usub; int<32> sadd; int<32> ssub; int<32> smul; int<32> sshr;
    int<32> sshl; bit<64> add64; bit<64> sub64; bit<64> mul64; bit<64> uadd64; bit<64> usub64; bit<64> shr64;
    bit<8> div; bit<8> mod; bit<16> slice; bit<40> concat; int<16> cast16; bit<48> age; int<32> pick; bit<8> flags;
    bit<32> through; int<16> gadd; bit<32> wide;
}
struct H { in_t i; out_t o; }
struct M { bit<32> m; int<32> n; }
parser P(packet_in p, out H h, inout M m, inout standard_metadata_t s) { state start { p.extract(h.i); transition accept; } }
control V(inout H h, inout M m) { apply {} }
control I(inout H h, inout M m, inout standard_metadata_t s) {
    register<bit<32>>(8) kept;
    register<int<32>>(8) signed_kept;
    register<bit<64>>(8) wide;
    action more() {
        if (h.i.a > h.i.b) { h.o.wide = h.i.a; } else { h.o.wide = h.i.b; if (h.i.a8 == 0) { h.o.wide = 7; } }
    }
    apply {
        h.o.setValid();
        h.o.add = h.i.a + h.i.b;  h.o.sub = h.i.a - h.i.b;  h.o.mul = h.i.a * h.i.b;  h.o.neg = -h.i.a;  h.o.inv = ~h.i.a;
        h.o.or_ = h.i.a | h.i.b;  h.o.and_ = h.i.a & h.i.b;  h.o.xor = h.i.a ^ h.i.b;
        h.o.shl = h.i.a << h.i.b8;  h.o.shr = h.i.a >> h.i.b8;
        h.o.uadd = h.i.a |+| h.i.b;  h.o.usub = h.i.a |-| h.i.b;
        h.o.sadd = h.i.c |+| h.i.d;  h.o.ssub = h.i.c |-| h.i.d;
        h.o.smul = h.i.c * h.i.d;  h.o.sshr = h.i.c >> h.i.b8;  h.o.sshl = h.i.c << 3;
        h.o.add64 = h.i.e + h.i.f;  h.o.sub64 = h.i.e - h.i.f;  h.o.mul64 = h.i.e * h.i.f;
        h.o.uadd64 = h.i.e |+| h.i.f;  h.o.usub64 = h.i.e |-| h.i.f;  h.o.shr64 = h.i.e >> h.i.b8;
        h.o.div = h.i.a8 >> 9;  h.o.mod = h.i.a8 & 7;
        h.o.slice = h.i.a[23:8];  h.o.concat = h.i.a8 ++ h.i.b;  h.o.cast16 = (int<16>)h.i.c;
        h.o.age = h.i.t - h.i.u;
        h.o.pick = h.i.c > h.i.d ? h.i.c : h.i.d;
        h.o.flags = 0;
        if (h.i.a < h.i.b) { h.o.flags = h.o.flags | 1; }
        if (h.i.c < h.i.d) { h.o.flags = h.o.flags | 2; }
        if (h.i.e < h.i.f) { h.o.flags = h.o.flags | 4; }
        if (h.i.g <= h.i.h || h.i.a8 == h.i.b8) { h.o.flags = h.o.flags | 8; }
        if (!(h.i.e == h.i.f) && h.o.isValid()) { h.o.flags = h.o.flags | 16; }
        if ((int<32>)(h.i.a - h.i.b) > 0) { h.o.flags = h.o.flags | 32; }
        h.o.gadd = h.i.g + h.i.h;
        kept.write(h.i.a & 7, h.i.b);
        kept.read(h.o.through, h.i.b & 7);
        signed_kept.write(h.i.a & 7, h.i.c);
        signed_kept.read(m.n, h.i.a & 7);
        if (m.n |+| h.i.d == h.o.sadd) { h.o.flags = h.o.flags | 64; }
        wide.write(h.i.a & 7, h.i.e);
        wide.read(h.o.add64, h.i.b & 7);
        more();
        s.egress_spec = 1;
    }
}
control E(inout H h, inout M m, inout standard_metadata_t s) { apply {} }
control C(inout H h, inout M m) { apply {} }
control D(packet_out p, in H h) { apply { p.emit(h); } }
V1Switch(P(), V(), I(), E(), C(), D()) main;
