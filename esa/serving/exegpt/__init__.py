"""ExeGPT (arXiv 2404.07947, ASPLOS 2024): its closed forms of round-robin allocation, and its search."""
