// Every operation of the expression language on numbers of more than 64 bits; one packet in, the results out.
#include <core.p4>
#include <v1model.p4>

header in_t { bit<8> a8; bit<8> b8; bit<64> e; bit<128> a; bit<128> b; int<128> c; int<128> d; bit<72> t; bit<72> u; bit<256> w;
              bit<4> pad; bit<100> odd; bit<8> pad2; int<68> s; bit<12> pad3; bit<512> x; }
header out_t {
    bit<128> add; bit<128> sub; bit<128> mul; bit<128> neg; bit<128> inv; bit<128> or_; bit<128> and_; bit<128> xor;
    bit<128> shl; bit<128> shr; bit<128> shl_c; bit<128> shr_c; bit<128> uadd; bit<128> usub; int<128> sadd; int<128> ssub;
    int<128> smul; int<128> sshr; bit<72> add72; bit<72> sub72; bit<256> wide; bit<256> product; bit<192> concat; bit<64> slice;
    bit<40> part; bit<128> inserted; int<128> extended; int<64> narrowed; bit<128> pick; bit<16> flags; bit<128> through; bit<100> odd;
    bit<28> nibbles; int<72> s; bit<1024> all; bit<32> hash; bit<16> csum; bit<128> peeked; bit<128> chain;
}
struct H { in_t i; out_t o; }
struct M { bit<128> m; int<128> n; bit<128> peeked; bit<8> chosen; bit<2048> all; }
parser P(packet_in p, out H h, inout M m, inout standard_metadata_t s) {
    state start {
        m.peeked = p.lookahead<bit<128>>();
        transition select(p.lookahead<bit<200>>()) {
            200w0x0102030405060708090a0b0c0d0e0f101112131415161718a9 &&& 200w0xffff000000000000000000000000000000000000000000ffff: first;
            default: rest;
        }
    }
    state first { m.chosen = 1; transition rest; }
    state rest {
        p.extract(h.i);
        transition select(h.i.a, h.i.b8) {
            (128w0xffffffffffffffffffffffffffffffff, _): ones;
            (128w1 << 64 &&& 128w0xffffffff << 64, 8w0 &&& 8w1): middle;
            default: accept;
        }
    }
    state ones { m.chosen = m.chosen | 2; transition accept; }
    state middle { m.chosen = m.chosen | 4; transition accept; }
}
control V(inout H h, inout M m) { apply {} }
control I(inout H h, inout M m, inout standard_metadata_t s) {
    register<bit<128>>(8) kept;
    register<bit<72>>(4) odd_kept;
    action low() { h.o.chain = h.i.a; }
    action high() { h.o.chain = h.i.b; }
    apply {
        h.o.setValid();
        h.o.add = h.i.a + h.i.b;  h.o.sub = h.i.a - h.i.b;  h.o.mul = h.i.a * h.i.b;  h.o.neg = -h.i.a;  h.o.inv = ~h.i.a;
        h.o.or_ = h.i.a | h.i.b;  h.o.and_ = h.i.a & h.i.b;  h.o.xor = h.i.a ^ h.i.b;
        h.o.shl = h.i.a << h.i.b8;  h.o.shr = h.i.a >> h.i.b8;  h.o.shl_c = h.i.a << 70;  h.o.shr_c = h.i.a >> 3;
        h.o.uadd = h.i.a |+| h.i.b;  h.o.usub = h.i.a |-| h.i.b;
        h.o.sadd = h.i.c |+| h.i.d;  h.o.ssub = h.i.c |-| h.i.d;
        h.o.smul = h.i.c * h.i.d;  h.o.sshr = h.i.c >> h.i.b8;
        h.o.add72 = h.i.t + h.i.u;  h.o.sub72 = h.i.t - h.i.u;
        h.o.wide = h.i.w + (bit<256>)h.i.a - (bit<256>)h.i.e;
        h.o.product = (bit<256>)h.i.a * (bit<256>)h.i.b;
        h.o.concat = h.i.a ++ h.i.e;
        h.o.slice = h.i.a[99:36];  h.o.part = h.i.w[255:216];
        h.o.inserted = h.i.b;  h.o.inserted[95:32] = h.i.e;
        h.o.extended = (int<128>)(int<64>)h.i.e;  h.o.narrowed = (int<64>)h.i.c;
        h.o.pick = h.i.c > h.i.d ? h.i.a : (h.i.a < h.i.b ? h.i.b : 128w7);
        h.o.flags = 0;
        if (h.i.a < h.i.b) { h.o.flags = h.o.flags | 1; }
        if (h.i.c < h.i.d) { h.o.flags = h.o.flags | 2; }
        if (h.i.a == h.i.b) { h.o.flags = h.o.flags | 4; }
        if (h.i.a[127:64] >= h.i.b[63:0]) { h.o.flags = h.o.flags | 8; }
        if (h.i.c <= 0) { h.o.flags = h.o.flags | 16; }
        if (h.i.t > 72w0xffffffffffffffff) { h.o.flags = h.o.flags | 32; }
        if (h.i.x != (bit<512>)h.i.w) { h.o.flags = h.o.flags | 64; }
        if ((int<128>)(h.i.a - h.i.b) >= 5) { h.o.flags = h.o.flags | 128; }
        if (h.i.s < 0) { h.o.flags = h.o.flags | 256; }
        h.o.flags[15:12] = m.chosen[3:0];
        kept.write((bit<32>)h.i.a8 & 7, h.i.a);
        kept.read(h.o.through, (bit<32>)h.i.b8 & 7);
        odd_kept.write((bit<32>)h.i.a8 & 3, h.i.t);
        bit<72> back;
        odd_kept.read(back, (bit<32>)h.i.a8 & 3);
        h.o.odd = h.i.odd + (bit<100>)back;
        h.o.nibbles = h.i.odd[63:36];
        h.o.s = (int<72>)h.i.s - 1;
        m.all = h.i.x ++ h.i.w ++ h.i.w ++ h.i.x ++ ~h.i.x;
        h.o.all = m.all[1523:500];
        hash(h.o.hash, HashAlgorithm.crc32, 32w0, { h.i.a, h.i.t, h.i.odd, 4w3, h.i.s, 68w0x123456789abcdef01 }, 64w0x100000000);
        hash(h.o.csum, HashAlgorithm.csum16, 16w0, { h.i.a, h.i.b, h.i.w, 128w0x20010db8000000000000000000000001 }, 32w65536);
        h.o.peeked = m.peeked;
        if (h.i.a8 > 100) { low(); } else { high(); }
        h.i.setInvalid();  // BMv2 has no room for both
        s.egress_spec = 1;
    }
}
control E(inout H h, inout M m, inout standard_metadata_t s) { apply {} }
control C(inout H h, inout M m) { apply {} }
control D(packet_out p, in H h) { apply { p.emit(h); } }
V1Switch(P(), V(), I(), E(), C(), D()) main;
