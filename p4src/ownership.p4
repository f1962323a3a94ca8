// Whose a row is: where its content goes when another job takes it, or when its PS asks for it.

control Ownership(inout metadata_t meta) {
    action owner_is(job_index_t job_index, mac_address_t server_mac, ipv4_address_t server_ip,
                    ipv4_address_t switch_ip, bit<1> level1, bitmap_t bitmap1) {
        meta.owner.known = 1;
        meta.owner.job_index = job_index;
        meta.owner.server_mac = server_mac;
        meta.owner.server_ip = server_ip;
        meta.owner.switch_ip = switch_ip;
        meta.owner.level1 = level1;
        meta.owner.bitmap1 = bitmap1;
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

    apply { owner.apply(); }
}
