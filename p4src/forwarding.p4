// Plain forwarding by destination MAC address: hosts and the broadcast address have entries, the rest is dropped. ARP,
// TCP, ICMP and other UDP see nothing else of this switch.

control Forwarding(inout headers_t hdr, inout standard_metadata_t standard) {
    action forward(switch_port_t port) { standard.egress_spec = port; }
    action flood(multicast_group_t group) { standard.mcast_grp = group; }
    action drop() { mark_to_drop(standard); }

    table destination {
        key = { hdr.ethernet.dst: exact; }
        actions = { forward; flood; drop; }
        default_action = drop();
        size = 4096;
    }

    apply { destination.apply(); }
}
