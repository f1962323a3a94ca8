// What is on the wire, and what a packet carries through the pipeline.
// The ESA header repeats the table in esa/wire.py; a test compares the two.

const bit<16> ETHERTYPE_IPV4 = 0x0800;
const bit<16> ETHERTYPE_VLAN = 0x8100;
const bit<16> ETHERTYPE_SERVICE_VLAN = 0x88a8;
const bit<16> ETHERTYPE_OLD_VLAN = 0x9100;
const bit<8>  PROTOCOL_UDP   = 17;
const bit<3>  IPV4_MORE_FRAGMENTS = 1;
const bit<16> ESA_PORT       = 31780;
const bit<4>  ESA_VERSION    = 1;
const bit<16> ESA_UDP_LENGTH = 8 + 24 + 4 * LANES;

const bit<4> KIND_GRADIENT = 1;
const bit<4> KIND_PARTIAL  = 2;
const bit<4> KIND_RESULT   = 3;
const bit<4> KIND_REMINDER = 4;
const bit<4> KIND_MISS     = 5;
const bit<4> KIND_QUERY    = 6;

const bit<8> FLAG_RESEND    = 0x01;
const bit<8> FLAG_COLLISION = 0x02;
const bit<8> FLAG_ECN       = 0x04;
const bit<8> FLAG_RELEASE   = 0x08;
const bit<8> FLAG_LEVEL1    = 0x10;
const bit<8> FLAG_ANSWER    = 0x20;
const bit<8> FLAG_ALIVE     = 0x40;

header ethernet_t {
    bit<48> dst;
    bit<48> src;
    bit<16> type;
}

header ipv4_t {
    bit<4>  version;
    bit<4>  ihl;
    bit<8>  tos;
    bit<16> total_length;
    bit<16> id;
    bit<3>  flags;
    bit<13> fragment_offset;
    bit<8>  ttl;
    bit<8>  protocol;
    bit<16> checksum;
    bit<32> src;
    bit<32> dst;
}

header udp_t {
    bit<16> src_port;
    bit<16> dst_port;
    bit<16> length;
    bit<16> checksum;
}

header esa_t {
    bit<4>  version;
    bit<4>  kind;
    bit<8>  flags;
    bit<8>  priority;
    int<8>  exponent;
    bit<16> job;
    bit<16> epoch;
    bit<32> seq;
    bit<32> index;
    bit<32> bitmap0;
    bit<32> bitmap1;
}

#if LANES > 0
#define LANE_FIELD(n) int<32> v##n;
header lanes_t {
    FOR_EACH_LANE(LANE_FIELD)
}
#endif

struct headers_t {
    ethernet_t ethernet;
    ipv4_t     ipv4;
    udp_t      udp;
    esa_t      esa;
#if LANES > 0
    lanes_t    lanes;
#endif
}

// Who sent the packet, as admission found it.
enum bit<8> Role {
    UNKNOWN = 0,
    WORKER  = 1,  // a rank of the job, on a port of this switch
    RACK    = 2,  // the switch of a rack of the job, below this one
    TRANSIT = 3,  // a member of the job behind another switch: its packets pass
    SERVER  = 4   // the job's PS, directly or through the switch above
}

// What happens to the row that the packet's index names.
enum bit<8> Verdict {
    NONE             = 0,
    SEAT             = 1,  // take the empty row
    RESEAT           = 2,  // take a row whose content every worker has (release on reuse)
    ADD              = 3,  // same owner: add
    DUPLICATE        = 4,  // same owner, already counted
    ANSWER           = 5,  // complete and held: the sum leaves again
    SWAP             = 6,  // packet and row change places
    COLLIDE          = 7,  // the packet goes on to its PS
    RELEASE          = 8,  // clear the row
    FETCH            = 9,  // clear the row, its content leaves
    MISS             = 10, // nothing here
    ALONE            = 11, // fan-in 1: complete without a row
    RECLAIM          = 12  // take a row of a run that has ended; what it held is worth nothing
}

enum bit<8> Preempt { NEVER = 0, HIGHER = 1, ALWAYS = 2, COIN = 3 }
enum bit<8> Aging   { NONE = 0, HALVE = 1 }
enum bit<8> Release { ON_COMPLETION = 0, ON_ACK = 1, ON_REUSE = 2 }
enum bit<8> Emit    { TO_WORKERS = 0, TO_SERVER = 1, TO_ROOT = 2 }

// One aggregator's state next to its lanes.
struct row_t {
    bit<64> owner;     // job ++ epoch ++ seq
    bit<32> bitmap;    // who is in the sum: workers at level 0, racks at level 1; 0 is empty
    bit<8>  priority;
    int<8>  exponent;
    bit<8>  flags;     // FLAG_ECN if any contribution met a queue
    bit<48> time_us;   // of the last contribution
}

// The job's entry in the policy table: five knobs and where things are.
struct policy_t {
    bit<16> job_index;  // of the job's counters
    bit<1>  aggregates; // 0: the PS does all the work
    bit<32> pool_base;
    bit<32> pool_mask;
    Preempt preempt;
    Aging   aging;
    Release release;
    Emit    emit;
    bit<32> full;       // the bitmap of a complete sum at this switch
    bit<48> ttl_us;     // 0: rows of others never expire
    bit<16> group;      // multicast group of the job's receivers behind this switch
    bit<48> server_mac;
    bit<32> server_ip;
    bit<32> switch_ip;  // this switch as a member of the job
}

// The run that owns a row.
struct owner_t {
    bit<1>  known;      // 0: it has ended
    bit<16> job_index;  // of its counters; 0 for an ended run
    bit<48> server_mac;
    bit<32> server_ip;
    bit<32> switch_ip;
    bit<1>  level1;     // its rows here hold sums of racks
    bit<32> bitmap1;
}

struct metadata_t {
    bit<1>   claims_esa;   // is an ESA packet, or could be one to its receiver
    bit<1>   well_formed;
    Role     role;
    bit<32>  sender_bitmap0;
    bit<32>  sender_bitmap1;
    policy_t policy;
    bit<4>   kind;         // as the packet arrived; its header may leave as another
    bit<8>   flags;
    bit<64>  fragment;     // job ++ epoch ++ seq of the packet
    bit<32>  contribution; // the packet's bits at this switch's level
    bit<32>  slot;
    row_t    row;          // as read
    row_t    next;         // as written
    Verdict  verdict;
    bit<1>   complete;
    bit<1>   expired;
    bit<1>   aged;
    owner_t  owner;        // of the row, where the verdict needs it
    bit<1>   to_destination; // leaves by the destination's MAC address
}
