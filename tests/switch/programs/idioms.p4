// What people write: drops by an action that knows no standard_metadata but its parameter, actions that only log, and
// packets that go round many times.
#include <core.p4>
#include <v1model.p4>

header h_t { bit<8> op; bit<8> v; bit<16> want; bit<16> done; bit<64> wide; int<8> signed_; }
struct H { h_t h; }
struct M { @field_list(0) bit<16> n; }
parser P(packet_in p, out H h, inout M m, inout standard_metadata_t s) { state start { p.extract(h.h); transition accept; } }
control V(inout H h, inout M m) { apply {} }
action my_drop(inout standard_metadata_t smeta) { mark_to_drop(smeta); }
action to_group_and_drop(inout standard_metadata_t smeta) { smeta.mcast_grp = 1; smeta.egress_spec = 3; mark_to_drop(smeta); }
control I(inout H h, inout M m, inout standard_metadata_t s) {
    action fwd(bit<9> p) { s.egress_spec = p; }
    action say() { log_msg("op {} of {}", { h.h.op, s.ingress_port }); }
    table choice {
        key = { h.h.op : exact; }
        actions = { fwd; my_drop(s); to_group_and_drop(s); say; }
        default_action = my_drop(s);
        const entries = { 1 : fwd(1); 2 : to_group_and_drop(s); 3 : say(); 4 : fwd(2); 5 : fwd(1); 6 : fwd(1); 7 : fwd(1); }
    }
    apply {
        choice.apply();
        switch (h.h.v) {
            1: { log_msg("nothing to do"); }
            2: { h.h.v = 7; }
        }
        if (h.h.op == 4) { log_msg("is {} {} {}", { h.h.wide, h.h.signed_, h.h.v == 0 }); } else { h.h.signed_ = 0; }
        if (h.h.op == 5) {
            m.n = m.n + 1;
            if (m.n < h.h.want) { resubmit_preserving_field_list(0); } else { h.h.done = m.n; }
        }
    }
}
control E(inout H h, inout M m, inout standard_metadata_t s) {
    apply {
        if (h.h.op == 6 && h.h.done < h.h.want) { h.h.done = h.h.done + 1; recirculate_preserving_field_list(0); }
        if (h.h.op == 7) { my_drop(s); }
    }
}
control C(inout H h, inout M m) { apply {} }
control D(packet_out p, in H h) { apply { p.emit(h.h); } }
V1Switch(P(), V(), I(), E(), C(), D()) main;
