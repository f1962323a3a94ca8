"""LLM inference in virtual time: requests, KV memory, iteration times, schedulers of Vidur, FastServe and ExeGPT."""
