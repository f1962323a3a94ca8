// Who may say what: a sender (port, address) is entitled to one run (job and epoch) in one role, a worker to its own bit.
// Everything else is dropped and counted by reason.

#define DENY_MALFORMED      0
#define DENY_UNKNOWN_SENDER 1
#define DENY_UNKNOWN_JOB    2
#define DENY_BITMAP         3
#define DENY_KIND           4
#define DENY_OTHER_RUN      5

control Admission(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard) {
    counter(8, CounterType.packets) denied_by_reason;
    counter(MAX_JOBS, CounterType.packets) denied;

    action worker(bitmap_t bitmap0, bitmap_t bitmap1) {
        meta.role = Role.WORKER;
        meta.sender_bitmap0 = bitmap0;
        meta.sender_bitmap1 = bitmap1;
    }
    action rack(bitmap_t bitmap1) {
        meta.role = Role.RACK;
        meta.sender_bitmap1 = bitmap1;
    }
    action transit() { meta.role = Role.TRANSIT; }
    action server() { meta.role = Role.SERVER; }
    action unknown() { meta.role = Role.UNKNOWN; }

    table sender {
        key = {
            standard.ingress_port: exact @name("ingress_port");
            hdr.ipv4.src: exact @name("src_ip");
            hdr.udp.src_port: exact @name("src_port");
            hdr.esa.job: exact @name("job");
            hdr.esa.epoch: exact @name("epoch");
        }
        actions = { worker; rack; transit; server; unknown; }
        default_action = unknown();
        size = 4096;
    }

    action aggregate(job_index_t job_index, aggregator_index_t pool_base, aggregator_index_t pool_mask,
                     Preempt preempt, Aging aging, Release release, Emit emit, bitmap_t full, timestamp_us_t ttl_us,
                     multicast_group_t group, mac_address_t server_mac, ipv4_address_t server_ip,
                     ipv4_address_t switch_ip) {
        meta.policy.aggregates = 1;
        meta.policy.job_index = job_index;
        meta.policy.pool_base = pool_base;
        meta.policy.pool_mask = pool_mask;
        meta.policy.preempt = preempt;
        meta.policy.aging = aging;
        meta.policy.release = release;
        meta.policy.emit = emit;
        meta.policy.full = full;
        meta.policy.ttl_us = ttl_us;
        meta.policy.group = group;
        meta.policy.server_mac = server_mac;
        meta.policy.server_ip = server_ip;
        meta.policy.switch_ip = switch_ip;
    }
    // No rows: the PS does all the work. Its results are still multicast if it asks for that.
    action pass_through(job_index_t job_index, multicast_group_t group) {
        meta.policy.aggregates = 0;
        meta.policy.job_index = job_index;
        meta.policy.group = group;
    }

    table policy {
        key = {
            hdr.esa.job: exact @name("job");
            hdr.esa.epoch: exact @name("epoch");
        }
        actions = { aggregate; pass_through; NoAction; }
        default_action = NoAction();
        size = MAX_JOBS;
    }

    // The newest run of each job that was ever started here. Its entry stays when the run ends: that is how this switch
    // keeps the control plane from giving an epoch twice.
    table run {
        key = {
            hdr.esa.job: exact @name("job");
            hdr.esa.epoch: exact @name("epoch");
        }
        actions = { NoAction; }
        default_action = NoAction();
        size = 4096;
    }

    action deny(counter_index_t reason) {
        denied_by_reason.count(reason);
        denied.count((counter_index_t)meta.policy.job_index);
        mark_to_drop(standard);
        exit;
    }

    apply {
        if (meta.well_formed == 0 || standard.checksum_error == 1) {
            deny(DENY_MALFORMED);
        }
        sender.apply();
        if (meta.role == Role.UNKNOWN) {
            if (run.apply().hit) { deny(DENY_UNKNOWN_SENDER); } else { deny(DENY_OTHER_RUN); }
        }
        if (!policy.apply().hit) {
            deny(DENY_UNKNOWN_JOB);
        }

        flags_t own_flags = hdr.esa.flags & ~FLAG_ECN;
        if (meta.role == Role.WORKER) {
            if (hdr.esa.bitmap0 != meta.sender_bitmap0 || hdr.esa.bitmap1 != meta.sender_bitmap1) {
                deny(DENY_BITMAP);
            }
            bool gradient = hdr.esa.kind == KIND_GRADIENT && (own_flags == 0 || own_flags == FLAG_RESEND);
            bool answer = hdr.esa.kind == KIND_RESULT && own_flags == FLAG_ANSWER;
            if (!gradient && !answer) {
                deny(DENY_KIND);
            }
        } else if (meta.role == Role.RACK) {
            bool rack_sum = hdr.esa.kind == KIND_GRADIENT && (own_flags & FLAG_LEVEL1) != 0;
            if (rack_sum && hdr.esa.bitmap1 != meta.sender_bitmap1) {
                deny(DENY_BITMAP);
            }
            if (!rack_sum && hdr.esa.kind != KIND_PARTIAL && hdr.esa.kind != KIND_MISS) {
                deny(DENY_KIND);
            }
        } else if (meta.role == Role.SERVER) {
            if (hdr.esa.kind != KIND_RESULT && hdr.esa.kind != KIND_REMINDER && hdr.esa.kind != KIND_QUERY) {
                deny(DENY_KIND);
            }
        } else if (hdr.esa.kind == KIND_GRADIENT && (own_flags & FLAG_LEVEL1) != 0) {
            deny(DENY_KIND);
        }
    }
}
