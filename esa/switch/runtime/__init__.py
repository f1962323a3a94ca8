"""A loaded program and its state: packets go through it, a control plane writes tables and reads counters."""
