"""LLM inference from a scenario: `esa serve`."""
