// After replication: each copy of a RESULT gets its receiver's addresses; a flooded frame does not return to its port.

const bit<32> REPLICATED = 5;  // instance_type of a multicast copy in v1model

control Replication(inout headers_t hdr, inout standard_metadata_t standard) {
    action readdress(mac_address_t mac, ipv4_address_t ip, udp_port_t port) {
        hdr.ethernet.dst = mac;
        hdr.ipv4.dst = ip;
        hdr.udp.dst_port = port;
        hdr.udp.checksum = 0;
    }
    table replica {
        key = {
            standard.egress_rid: exact @name("replica");
            hdr.esa.job: exact @name("job");
            hdr.esa.epoch: exact @name("epoch");
        }
        actions = { readdress; NoAction; }
        default_action = NoAction();
        size = 4096;
    }

    action drop() { mark_to_drop(standard); }

    apply {
        // Floods use replica id 0; receivers of a job count from 1.
        if (standard.egress_rid != 0 && hdr.esa.isValid()) {
            replica.apply();
        } else if (standard.instance_type == REPLICATED && standard.egress_port == standard.ingress_port) {
            drop();
        }
    }
}
