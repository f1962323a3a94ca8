// Every kind of key alone and together, counters of both kinds, registers that packets change, a hash, a checksum.
#include <core.p4>
#include <v1model.p4>

header key_t { bit<8> a; bit<16> b; bit<32> c; bit<4> d; bit<4> e; int<16> f; }
header out_t {
    bit<8> exactly; bit<8> longest; bit<8> scoped; bit<8> masked; bit<8> within; bit<8> perhaps; bit<8> every;
    bit<8> filled; bit<32> total; bit<16> least; bit<16> hash; bit<16> csum;
}
struct H { key_t k; out_t o; }
struct M { bit<32> total; int<16> least; }

parser P(packet_in p, out H h, inout M m, inout standard_metadata_t s) { state start { p.extract(h.k); transition accept; } }
control V(inout H h, inout M m) { apply {} }
control I(inout H h, inout M m, inout standard_metadata_t s) {
    counter(16, CounterType.packets_and_bytes) by_nibble;
    direct_counter(CounterType.packets_and_bytes) of_masked;
    direct_counter(CounterType.packets) of_longest;
    register<bit<32>>(16) totals;
    register<int<16>>(16) leasts;

    action exactly(bit<8> v) { h.o.exactly = v; }
    action longest(bit<8> v) { h.o.longest = v; of_longest.count(); }
    action scoped(bit<8> v) { h.o.scoped = v; }
    action masked(bit<8> v, bit<9> port) { h.o.masked = v; s.egress_spec = port; of_masked.count(); }
    action other(bit<8> v) { h.o.masked = v; of_masked.count(); }
    action within(bit<8> v) { h.o.within = v; }
    action perhaps(bit<8> v) { h.o.perhaps = v; }
    action every(bit<8> v, bit<8> w) { h.o.every = v ^ w; }
    action none() { }

    table t_exactly { key = { h.k.a: exact; h.k.b: exact; } actions = { exactly; none; } default_action = none(); size = 16; }
    table t_longest { key = { h.k.c: lpm; } actions = { longest; none; } default_action = none(); counters = of_longest; size = 32; }
    table t_scoped { key = { h.k.d: exact; h.k.c: lpm; h.k.a: exact; } actions = { scoped; none; } default_action = none(); size = 64; }
    table t_masked { key = { h.k.b: ternary; h.k.c: ternary; } actions = { masked; other; none; } default_action = none(); counters = of_masked; size = 32; }
    table t_within { key = { h.k.b: range; h.k.d: exact; } actions = { within; none; } default_action = none(); size = 32; }
    table t_perhaps { key = { h.k.a: optional; h.k.b: optional; } actions = { perhaps; none; } default_action = none(); size = 32; }
    table t_every { key = { h.k.a: exact; h.k.c: lpm; h.k.b: range; h.k.d: ternary; h.k.e: optional; } actions = { every; none; } default_action = every(1, 2); size = 32; }

    apply {
        h.o.setValid();
        h.o.exactly = 0; h.o.longest = 0; h.o.scoped = 0; h.o.masked = 0; h.o.within = 0; h.o.perhaps = 0; h.o.every = 0;
        h.o.filled = h.k.a |+| (bit<8>) h.k.b;
        s.egress_spec = 1;
        t_exactly.apply(); t_longest.apply(); t_scoped.apply(); t_masked.apply(); t_within.apply(); t_perhaps.apply(); t_every.apply();
        by_nibble.count((bit<32>) h.k.d);
        totals.read(m.total, (bit<32>) h.k.e);
        m.total = m.total |+| h.k.c;
        totals.write((bit<32>) h.k.e, m.total);
        h.o.total = m.total;
        leasts.read(m.least, (bit<32>) h.k.d);
        m.least = m.least |-| h.k.f;
        leasts.write((bit<32>) h.k.d, m.least);
        h.o.least = (bit<16>) m.least;
        hash(h.o.hash, HashAlgorithm.crc16, 16w3, { h.k.a, h.k.b, h.k.c, h.k.f }, 32w1000);
    }
}
control E(inout H h, inout M m, inout standard_metadata_t s) { apply {} }
control C(inout H h, inout M m) {
    apply { update_checksum(h.o.isValid(), { h.k.a, h.k.e, h.k.d, h.o.total, h.o.masked, h.o.hash }, h.o.csum, HashAlgorithm.csum16); }
}
control D(packet_out p, in H h) { apply { p.emit(h); } }
V1Switch(P(), V(), I(), E(), C(), D()) main;
