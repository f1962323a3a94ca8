"""Events and lines: what virtual time is made of. Knows nothing of ESA."""
