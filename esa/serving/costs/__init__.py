"""How long an iteration takes: operator profiles, published fits, a roofline where there is neither."""
