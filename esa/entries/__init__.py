"""A job as table entries: the rules of the control plane, without a connection to any switch."""
