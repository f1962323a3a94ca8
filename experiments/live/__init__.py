"""Runs in real time: processes on Mininet."""
