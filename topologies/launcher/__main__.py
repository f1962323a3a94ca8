"""`python -m topologies.launcher up|down|launch|job ...`: these commands of `esa` alone."""

from topologies.launcher.commands import app

app(prog_name="esa")
