// What is on the wire, and what a packet carries through the pipeline.
// The ESA header repeats the table in esa/wire.py; a test compares the two.

const bit<16> ETHERTYPE_IPV4 = 0x0800;
const bit<16> ETHERTYPE_VLAN = 0x8100;
const bit<16> ETHERTYPE_SERVICE_VLAN = 0x88a8;
const bit<16> ETHERTYPE_OLD_VLAN = 0x9100;
const bit<8>  PROTOCOL_UDP   = 17;
const bit<3>  IPV4_MORE_FRAGMENTS = 1;
const udp_port_t ESA_PORT    = 31780;
const bit<4>  ESA_VERSION    = 1;
const bit<16> ESA_UDP_LENGTH = 8 + 24 + 4 * LANES;

const kind_t KIND_GRADIENT = 1;
const kind_t KIND_PARTIAL  = 2;
const kind_t KIND_RESULT   = 3;
const kind_t KIND_REMINDER = 4;
const kind_t KIND_MISS     = 5;
const kind_t KIND_QUERY    = 6;

const flags_t FLAG_RESEND    = 0x01;
const flags_t FLAG_COLLISION = 0x02;
const flags_t FLAG_ECN       = 0x04;
const flags_t FLAG_RELEASE   = 0x08;
const flags_t FLAG_LEVEL1    = 0x10;
const flags_t FLAG_ANSWER    = 0x20;
const flags_t FLAG_ALIVE     = 0x40;
const flags_t FLAG_CONTESTED = 0x80;
const flags_t FLAGS_OF_SUM   = FLAG_ECN | FLAG_CONTESTED;
const flags_t ROW_KEPT       = 0x40; // of a row alone: it is free, and holds the complete sum of its owner

header ethernet_t {
    mac_address_t dst;
    mac_address_t src;
    bit<16>       type;
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
    ipv4_address_t src;
    ipv4_address_t dst;
}

header udp_t {
    udp_port_t src_port;
    udp_port_t dst_port;
    bit<16>    length;
    bit<16>    checksum;
}

header esa_t {
    bit<4>             version;
    kind_t             kind;
    flags_t            flags;
    priority_t         priority;
    exponent_t         exponent;
    job_id_t           job;
    epoch_t            epoch;
    seq_t              seq;
    aggregator_index_t index;
    bitmap_t           bitmap0;
    bitmap_t           bitmap1;
}

#if LANES > 0
#define LANE_FIELD(n) lane_t v##n;
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
    SEAT             = 1,  // take the free row
    RESEAT           = 2,  // take a row whose content every worker has (release on reuse)
    ADD              = 3,  // same owner: add
    DUPLICATE        = 4,  // same owner, already counted
    ANSWER           = 5,  // complete, and held or kept: the sum leaves again
    SWAP             = 6,  // packet and row change places
    COLLIDE          = 7,  // the packet goes on to its PS
    RELEASE          = 8,  // clear the row
    FETCH            = 9,  // clear the row, its content leaves
    MISS             = 10, // nothing here
    ALONE            = 11, // fan-in 1: complete without a row
    RECLAIM          = 12, // take a row of a run that has ended; what it held is worth nothing
    FLUSH            = 13  // clear the row, its sum leaves in the RESEND that met it, with what that brings
}

enum bit<8> Preempt { NEVER = 0, HIGHER = 1, ALWAYS = 2, COIN = 3, NOT_LOWER = 4 }
enum bit<8> Aging   { NONE = 0, HALVE = 1, MARK = 2 }
enum bit<8> Release { ON_COMPLETION = 0, ON_ACK = 1, ON_REUSE = 2, KEPT = 3, ON_ACK_OR_RESEND = 4 }
enum bit<8> Emit    { TO_WORKERS = 0, TO_SERVER = 1, TO_ROOT = 2 }

// One aggregator's state next to its lanes.
struct row_t {
    fragment_id_t  owner;
    bitmap_t       bitmap;    // who is in the sum: workers at level 0, racks at level 1; 0 is free
    priority_t     priority;
    exponent_t     exponent;
    flags_t        flags;     // FLAGS_OF_SUM (met a queue; another's packet met the row); ROW_KEPT
    timestamp_us_t time_us;   // of the last contribution
}

// The job's entry in the policy table: its knobs and where things are.
struct policy_t {
    job_index_t        job_index;
    bit<1>             aggregates; // 0: the PS does all the work
    aggregator_index_t pool_base;
    aggregator_index_t pool_mask;
    Preempt            preempt;
    Aging              aging;
    Release            release;
    Emit               emit;
    bitmap_t           full;       // the bitmap of a complete sum at this switch
    timestamp_us_t     ttl_us;     // a duration; 0: rows of others never expire
    multicast_group_t  group;      // of the job's receivers behind this switch
    mac_address_t      server_mac;
    ipv4_address_t     server_ip;
    ipv4_address_t     switch_ip;  // this switch as a member of the job
}

// The run that owns a row.
struct owner_t {
    bit<1>         known;      // 0: it has ended
    job_index_t    job_index;  // 0 for an ended run
    mac_address_t  server_mac;
    ipv4_address_t server_ip;
    ipv4_address_t switch_ip;
    bit<1>         level1;     // its rows here hold sums of racks
    bitmap_t       bitmap1;
    server_number_t server;    // whose fragment the row holds
}

struct metadata_t {
    bit<1>             claims_esa;   // is an ESA packet, or could be one to its receiver
    bit<1>             well_formed;
    Role               role;
    bitmap_t           sender_bitmap0;
    bitmap_t           sender_bitmap1;
    policy_t           policy;
    kind_t             kind;         // as the packet arrived; its header may leave as another
    flags_t            flags;
    fragment_id_t      fragment;     // of the packet
    bitmap_t           contribution; // the packet's bits at this switch's level
    aggregator_index_t slot;
    row_t              row;          // as read
    row_t              next;         // as written
    Verdict            verdict;
    bit<1>             complete;
    bit<1>             expired;
    bit<1>             aged;
    bitmap_t           flushed;      // who is in the sum that a RESEND takes along
    owner_t            owner;        // of the row, where the verdict needs it
    bit<1>             to_destination; // leaves by the destination's MAC address
    bit<1>             congested;    // it met a queue above the threshold
    bit<1>             marked;       // and its IPv4 header says so now
}
