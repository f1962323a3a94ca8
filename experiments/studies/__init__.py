"""One file per question that is answered with measurements: figures, reality, recovery, soak, bench."""
