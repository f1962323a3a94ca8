"""ESA: in-network aggregation whose switch memory is scheduled in the data plane (arXiv 2201.06398)."""
