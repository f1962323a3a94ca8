"""How long iterations take where jobs share a network: by a formula, by flows, by packets."""
