// Metadata of more than 64 bits over a resubmit, a recirculation and clones.
#include <core.p4>
#include <v1model.p4>

header what_t { bit<8> what; bit<128> value; bit<128> seen; }
struct H { what_t what; }
struct M { @field_list(1) bit<128> kept; bit<128> lost; @field_list(1) bit<8> passes; }
parser P(packet_in p, out H h, inout M m, inout standard_metadata_t s) { state start { p.extract(h.what); transition accept; } }
control V(inout H h, inout M m) { apply {} }
control I(inout H h, inout M m, inout standard_metadata_t s) {
    apply {
        s.egress_spec = 1;
        if (m.passes == 0) {
            m.kept = h.what.value + 1; m.lost = h.what.value; m.passes = 1;
            if (h.what.what == 0) { resubmit_preserving_field_list(1); }
            if (h.what.what == 1) { clone_preserving_field_list(CloneType.I2E, 5, 1); }
        } else { h.what.seen = m.kept + m.lost; }
    }
}
control E(inout H h, inout M m, inout standard_metadata_t s) {
    apply {
        if (s.instance_type == 1 || s.instance_type == 2) { h.what.seen = m.kept + m.lost; }
        else if (h.what.what == 2) { clone_preserving_field_list(CloneType.E2E, 5, 1); h.what.what = 9; }
        else if (h.what.what == 3 && m.passes == 1) { m.passes = 2; recirculate_preserving_field_list(1); }
    }
}
control C(inout H h, inout M m) { apply {} }
control D(packet_out p, in H h) { apply { p.emit(h); } }
V1Switch(P(), V(), I(), E(), C(), D()) main;
