// Checksums and hashes of every kind over fields of every kind: odd widths, signed, wide, varbit, constants, the payload.
#include <core.p4>
#include <v1model.p4>

header ask_t { bit<8> size; bit<4> a; bit<12> b; int<16> c; bit<72> d; bit<128> e; bit<7> f; bit<1> on; bit<16> sum; bit<16> whole; }
header open_t { bit<8> kind; varbit<64> data; bit<16> sum; }
header told_t {
    bit<8> error_; bit<16> csum; bit<16> odd; bit<16> xor; bit<16> crc16; bit<32> crc32; bit<16> all; bit<16> open;
    bit<16> h_csum; bit<16> h_crc16; bit<32> h_crc32; bit<16> h_ccitt; bit<16> h_identity; bit<16> h_xor; bit<16> h_base;
}
struct H { ask_t ask; open_t open; told_t told; }
struct M { }

parser P(packet_in p, out H h, inout M m, inout standard_metadata_t s) {
    state start { p.extract(h.ask); transition select(h.ask.size) { 0xff: accept; default: open; } }
    state open { p.extract(h.open, (bit<32>) (h.ask.size & 7) << 3); transition accept; }
}
control V(inout H h, inout M m) {
    apply {
        verify_checksum(h.ask.on == 1, { h.ask.a, h.ask.b, h.ask.c, h.ask.d, h.ask.e }, h.ask.sum, HashAlgorithm.csum16);
        verify_checksum_with_payload(h.ask.a == 3, { h.ask.b, h.ask.c, h.ask.a }, h.ask.whole, HashAlgorithm.csum16);
    }
}
control I(inout H h, inout M m, inout standard_metadata_t s) {
    apply {
        s.egress_spec = 1;
        h.told.setValid();
        h.told.error_ = (bit<8>) s.checksum_error;
        h.told.csum = 0; h.told.odd = 0; h.told.xor = 0; h.told.crc16 = 0; h.told.crc32 = 0; h.told.all = 0; h.told.open = 0;
        hash(h.told.h_csum, HashAlgorithm.csum16, 16w0, { h.ask.d, h.ask.c }, 32w65535);
        hash(h.told.h_crc16, HashAlgorithm.crc16, 16w0, { h.ask.a, h.ask.b, h.ask.e }, 32w65536);
        hash(h.told.h_crc32, HashAlgorithm.crc32, 32w5, { h.ask.e, h.ask.f, h.ask.on }, 32w1000003);
        hash(h.told.h_ccitt, HashAlgorithm.crc16, 16w7, { 8w0x5a, h.ask.c, h.ask.f, h.ask.on, h.ask.e }, 32w777);
        hash(h.told.h_identity, HashAlgorithm.identity, 16w0, { h.ask.f, h.ask.b }, 32w40000);
        hash(h.told.h_xor, HashAlgorithm.xor16, 16w0, { h.ask.d, h.ask.f, h.ask.on }, 32w65536);
        hash(h.told.h_base, HashAlgorithm.crc32, 16w0xfff0, { h.ask.d }, 32w0x20);
    }
}
control E(inout H h, inout M m, inout standard_metadata_t s) { apply {} }
control C(inout H h, inout M m) {
    apply {
        update_checksum(h.told.isValid(), { h.ask.a, h.ask.b, h.ask.c, h.ask.d, h.ask.e }, h.told.csum, HashAlgorithm.csum16);
        update_checksum(h.ask.on == 1, { h.ask.f, h.ask.on }, h.told.odd, HashAlgorithm.csum16);
        update_checksum(h.ask.a > 7, { h.ask.d, h.ask.f, h.ask.on, h.ask.e }, h.told.xor, HashAlgorithm.xor16);
        update_checksum(true, { h.ask.d, h.ask.f, h.ask.on, h.ask.e, 16w0x1234 }, h.told.crc16, HashAlgorithm.crc16);
        update_checksum(true, { h.ask.c, h.ask.e }, h.told.crc32, HashAlgorithm.crc32);
        update_checksum_with_payload(h.ask.b[0:0] == 1, { h.ask.c, h.ask.d, h.ask.size }, h.told.all, HashAlgorithm.csum16);
        update_checksum(h.open.isValid(), { h.open.kind, h.open.data, h.ask.size }, h.told.open, HashAlgorithm.csum16);
        update_checksum_with_payload(h.open.isValid() && h.ask.on == 0, { h.open.data, h.ask.c }, h.open.sum, HashAlgorithm.crc16);
    }
}
control D(packet_out p, in H h) { apply { p.emit(h.told); p.emit(h.ask); p.emit(h.open); } }
V1Switch(P(), V(), I(), E(), C(), D()) main;
