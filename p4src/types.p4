// One name per quantity. Aliases: the compiled program knows widths alone.

typedef bit<48> mac_address_t;
typedef bit<32> ipv4_address_t;
typedef bit<16> udp_port_t;
typedef bit<9>  switch_port_t;
typedef bit<16> multicast_group_t;

typedef bit<4>  kind_t;
typedef bit<8>  flags_t;
typedef bit<8>  priority_t;
typedef int<8>  exponent_t;
typedef bit<16> job_id_t;
typedef bit<16> epoch_t;
typedef bit<32> seq_t;
typedef bit<64> fragment_id_t;       // job ++ epoch ++ seq
typedef bit<32> bitmap_t;            // workers of a rack, or racks of a job
typedef bit<32> aggregator_index_t;
typedef bit<16> job_index_t;         // of a job's counters
typedef bit<32> counter_index_t;
typedef bit<8>  server_number_t;     // of a job's PSs, from 0
typedef bit<48> timestamp_us_t;      // microseconds, as v1model's ingress_global_timestamp
typedef int<32> lane_t;
typedef bit<32> lane_cell_t;         // a lane in a register, see lanes.p4
typedef bit<8>  exponent_cell_t;     // an exponent in a register
