"""ONES (Bian et al., SC 2021) as its authors' artefact has it: an evolutionary search over who has which GPU."""
