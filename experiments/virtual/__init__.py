"""Runs in virtual time, one or many."""
