// What happened, per job. `seated` minus `released` is the number of aggregators a job holds.

control JobCounters(in metadata_t meta) {
    counter(MAX_JOBS, CounterType.packets) gradients;
    counter(MAX_JOBS, CounterType.packets) resends;
    counter(MAX_JOBS, CounterType.packets) aggregated;
    counter(MAX_JOBS, CounterType.packets) completed;
    counter(MAX_JOBS, CounterType.packets) duplicates;
    counter(MAX_JOBS, CounterType.packets) collisions;
    counter(MAX_JOBS, CounterType.packets) preemptions;
    counter(MAX_JOBS, CounterType.packets) expired;
    counter(MAX_JOBS, CounterType.packets) evicted;
    counter(MAX_JOBS, CounterType.packets) aged;
    counter(MAX_JOBS, CounterType.packets) reminders;
    counter(MAX_JOBS, CounterType.packets) misses;
    counter(MAX_JOBS, CounterType.packets) seated;
    counter(MAX_JOBS, CounterType.packets) released;

    apply {
        counter_index_t job = (counter_index_t)meta.policy.job_index;
        counter_index_t owner = (counter_index_t)meta.owner.job_index;

        if (meta.kind == KIND_GRADIENT) {
            gradients.count(job);
            if (meta.flags & FLAG_RESEND != 0) { resends.count(job); }
        }
        if (meta.verdict == Verdict.SEAT || meta.verdict == Verdict.RESEAT || meta.verdict == Verdict.RECLAIM ||
            meta.verdict == Verdict.SWAP) {
            seated.count(job);
            aggregated.count(job);
        } else if (meta.verdict == Verdict.ADD || meta.verdict == Verdict.ALONE) {
            aggregated.count(job);
        } else if (meta.verdict == Verdict.DUPLICATE || meta.verdict == Verdict.ANSWER) {
            duplicates.count(job);
        } else if (meta.verdict == Verdict.COLLIDE) {
            collisions.count(job);
            if (meta.aged == 1) { aged.count(job); }
        } else if (meta.verdict == Verdict.FETCH) {
            reminders.count(job);
        } else if (meta.verdict == Verdict.MISS) {
            reminders.count(job);
            misses.count(job);
        }
        if (meta.verdict == Verdict.SWAP) {
            if (meta.expired == 1) { expired.count(job); } else { preemptions.count(job); }
            evicted.count(owner);
            released.count(owner);
        } else if (meta.verdict == Verdict.RECLAIM) {
            released.count(owner);
        } else if (meta.verdict == Verdict.RELEASE || meta.verdict == Verdict.FETCH || meta.verdict == Verdict.FLUSH ||
                   meta.verdict == Verdict.RESEAT) {
            released.count(job);
        }
        if (meta.complete == 1) {
            completed.count(job);
            if ((meta.policy.release == Release.ON_COMPLETION || meta.policy.release == Release.KEPT) &&
                meta.verdict != Verdict.ALONE) {
                released.count(job);
            }
        }
    }
}
