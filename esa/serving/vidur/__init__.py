"""Vidur's replica schedulers, and the search for a replica's capacity (microsoft/vidur 7d47513; MLSys 2024)."""
