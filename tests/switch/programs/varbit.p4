// Headers whose width the packet says: IPv4 options, a stack of type-length-values, checksums over them.
#include <core.p4>
#include <v1model.p4>

header eth_t { bit<48> dst; bit<48> src; bit<16> type; }
header ip_t { bit<4> version; bit<4> ihl; bit<8> tos; bit<16> len; bit<16> id; bit<16> frag; bit<8> ttl; bit<8> proto; bit<16> csum;
              bit<32> src; bit<32> dst; varbit<320> options; }
header tlv_t { bit<8> type; bit<8> length; varbit<72> value; bit<4> color; bit<12> tail; bit<128> id; }
header end_t { bit<16> csum; bit<8> same; bit<8> error_; bit<8> wrong; }
struct H { eth_t eth; ip_t ip; ip_t spare; tlv_t[3] tlvs; end_t end; }
struct M { bit<8> length; }

parser P(packet_in p, out H h, inout M m, inout standard_metadata_t s) {
    state start { p.extract(h.eth); transition select(h.eth.type) { 0x0800: ip; 0x7777: tlv; default: accept; } }
    state ip {
        bit<8> first = p.lookahead<bit<8>>();
        p.extract(h.ip, (bit<32>)(((bit<9>)first[3:0] << 2) - 9w20) << 3);
        transition select(h.ip.proto) { 77: tlv; default: accept; }
    }
    state tlv {
        m.length = p.lookahead<bit<16>>()[7:0];
        p.extract(h.tlvs.next, (bit<32>)m.length);
        transition select(h.tlvs.last.type, h.tlvs.last.id) { (1, _): tlv; (_, 128w5): tlv; default: accept; }
    }
}
control V(inout H h, inout M m) { apply {
    verify_checksum(h.ip.isValid(), { h.ip.version, h.ip.ihl, h.ip.tos, h.ip.len, h.ip.id, h.ip.frag, h.ip.ttl, h.ip.proto, h.ip.src, h.ip.dst,
        h.ip.options }, h.ip.csum, HashAlgorithm.csum16);
} }
control C(inout H h, inout M m) { apply {
    update_checksum(h.ip.isValid(), { h.ip.version, h.ip.ihl, h.ip.tos, h.ip.len, h.ip.id, h.ip.frag, h.ip.ttl, h.ip.proto, h.ip.src, h.ip.dst,
        h.ip.options }, h.ip.csum, HashAlgorithm.csum16);
    update_checksum_with_payload(h.tlvs[0].isValid(), { h.tlvs[0].type, h.tlvs[0].length, h.tlvs[0].value, h.tlvs[0].tail }, h.end.csum,
        HashAlgorithm.csum16);
} }
control I(inout H h, inout M m, inout standard_metadata_t s) {
    apply {
        h.end.setValid();
        h.end.same = 0; h.end.csum = 0; h.end.wrong = (bit<8>)s.checksum_error;
        if (s.parser_error == error.NoError) { h.end.error_ = 0; } else if (s.parser_error == error.PacketTooShort) { h.end.error_ = 1; }
        else if (s.parser_error == error.HeaderTooShort) { h.end.error_ = 2; } else if (s.parser_error == error.ParserInvalidArgument) { h.end.error_ = 3; }
        else if (s.parser_error == error.StackOutOfBounds) { h.end.error_ = 4; } else { h.end.error_ = 9; }
        if (h.ip.isValid()) {
            h.ip.ttl = h.ip.ttl - 1;
            if (h.ip.tos[0:0] == 1) { h.spare = h.ip; h.spare.id = 0xabcd; }
            if (h.ip.tos[1:1] == 1) { h.spare.setValid(); h.spare.options = h.ip.options; h.spare.version = 15; h.spare.ihl = 0; h.spare.tos = 0;
                h.spare.len = 0; h.spare.id = 0; h.spare.frag = 0; h.spare.ttl = 0; h.spare.proto = 0; h.spare.csum = 0; h.spare.src = 0; h.spare.dst = 0; }
            if (h.ip.tos[2:2] == 1) { h.ip.setInvalid(); }
        }
        if (h.tlvs[0].isValid()) {
            h.tlvs[0].id = h.tlvs[0].id + 1;
            if (h.tlvs[1].isValid()) {
                if (h.tlvs[0].value == h.tlvs[1].value) { h.end.same = 1; }
                if (h.tlvs[0].color == 3) { h.tlvs[0].value = h.tlvs[1].value; }
                if (h.tlvs[0].color == 4) { h.tlvs[2] = h.tlvs[0]; }
                if (h.tlvs[0].color == 5) { h.tlvs.pop_front(1); }
                if (h.tlvs[0].color == 6) { h.tlvs.push_front(1); h.tlvs[0] = h.tlvs[2]; }
            }
        }
        s.egress_spec = 1;
    }
}
control E(inout H h, inout M m, inout standard_metadata_t s) { apply {} }
control D(packet_out p, in H h) { apply { p.emit(h.eth); p.emit(h.ip); p.emit(h.spare); p.emit(h.tlvs); p.emit(h.end); } }
V1Switch(P(), V(), I(), E(), C(), D()) main;
