// Whose a row is: where its content goes when another job takes it, or when its PS asks for it. A job with several PSs
// has one, its first, in `owner`, and the others in `server`: fragment seq is that of PS (seq modulo their number).

control Ownership(inout metadata_t meta) {
    action owner_is(job_index_t job_index, mac_address_t server_mac, ipv4_address_t server_ip,
                    ipv4_address_t switch_ip, bit<1> level1, bitmap_t bitmap1, server_number_t last_server) {
        meta.owner.known = 1;
        meta.owner.job_index = job_index;
        meta.owner.server_mac = server_mac;
        meta.owner.server_ip = server_ip;
        meta.owner.switch_ip = switch_ip;
        meta.owner.level1 = level1;
        meta.owner.bitmap1 = bitmap1;
        // Their number is a power of two, so the last one's is a mask.
        meta.owner.server = meta.row.owner[7:0] & last_server;
    }
    // A run that has ended has no entry.
    table owner {
        key = {
            meta.row.owner[63:48]: exact @name("job");
            meta.row.owner[47:32]: exact @name("epoch");
        }
        actions = { owner_is; NoAction; }
        default_action = NoAction();
        size = MAX_JOBS;
    }

    action server_is(mac_address_t mac, ipv4_address_t ip) {
        meta.owner.server_mac = mac;
        meta.owner.server_ip = ip;
    }
    table server {
        key = {
            meta.owner.server: exact @name("server");
            meta.row.owner[63:48]: exact @name("job");
            meta.row.owner[47:32]: exact @name("epoch");
        }
        actions = { server_is; NoAction; }
        default_action = NoAction();
        size = MAX_JOBS * MORE_SERVERS;
    }

    apply {
        owner.apply();
        if (meta.owner.server != 0) { server.apply(); }
    }
}
