// ESA: in-network aggregation whose switch memory is scheduled in the data plane (arXiv 2201.06398).
//
// One program, four policies: what a job may do with the aggregators is the action data of its entry in the policy
// table (ESA, ATP, SwitchML, none). The parts, one control per concern:
//
//   parser       bytes to headers, well-formedness, checksums      forwarding   everything that is not ESA
//   admission    who may say what                                  policy       the verdict on a packet and a row
//   aggregation  the rows: read, decide, write                     ownership    whose a row is
//   lanes        the sums
//   emission     what leaves, and to whom                          counters     what happened
//   replication  each receiver's copy                              congestion   ECN
//
// Compile with -DLANES=0|64|256 -DAGGREGATORS=<power of two>.

#include <core.p4>
#include <v1model.p4>

#define MAX_JOBS 256
#define MORE_SERVERS 7  // of a job's eight PSs all but the first
#include "for_each_lane.p4"
#include "types.p4"
#include "headers.p4"
#include "parser.p4"
#include "forwarding.p4"
#include "admission.p4"
#include "ownership.p4"
#include "policy.p4"
#include "lanes.p4"
#include "aggregation.p4"
#include "emission.p4"
#include "counters.p4"
#include "replication.p4"
#include "congestion.p4"

control EsaIngress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard) {
    Forwarding() forwarding;
    Admission() admission;
    Aggregation() aggregation;
    Emission() emission;
    JobCounters() job_counters;

    apply {
        if (meta.claims_esa == 1) {
            admission.apply(hdr, meta, standard);
            meta.kind = hdr.esa.kind;
            meta.flags = hdr.esa.flags;

            bool aggregates = meta.policy.aggregates == 1;
            bool gradient = hdr.esa.kind == KIND_GRADIENT && meta.role != Role.TRANSIT &&
                            (hdr.esa.flags & FLAG_RESEND == 0 || meta.policy.release == Release.ON_REUSE ||
                             meta.policy.release == Release.KEPT ||
                             meta.policy.release == Release.ON_ACK_OR_RESEND);
            bool release = hdr.esa.kind == KIND_RESULT && meta.role == Role.SERVER &&
                           hdr.esa.flags & FLAG_RELEASE != 0 && hdr.esa.flags & FLAG_ANSWER == 0;
            bool reminder = hdr.esa.kind == KIND_REMINDER && hdr.ipv4.dst == meta.policy.switch_ip;
            if (aggregates && (gradient || release || reminder)) {
                aggregation.apply(hdr, meta, standard);
            }
            emission.apply(hdr, meta, standard);
            job_counters.apply(meta);
        }
        if (meta.claims_esa == 0 || meta.to_destination == 1) {
            forwarding.apply(hdr, standard);
        }
    }
}

control EsaEgress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard) {
    Replication() replication;
    Congestion() congestion;

    apply {
        replication.apply(hdr, standard);
        congestion.apply(hdr, meta, standard);
    }
}

V1Switch(EsaParser(), VerifyIpv4Checksum(), EsaIngress(), EsaEgress(), ComputeIpv4Checksum(), EsaDeparser()) main;
