"""p4c's packet tests of v1model programs (pairs of .p4 and .stf files), on the embedded switch and on BMv2."""
