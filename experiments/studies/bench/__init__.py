"""What `esa bench` measures: one file per comparison, each a ratio of two things measured side by side."""
