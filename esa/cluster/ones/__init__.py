"""ONES (arXiv 2108.03645, SC 2021) as its authors' artefact has it: an evolutionary search over who has which GPU."""
