"""`python -m launcher up|down|launch|job ...`: these commands of `esa` alone."""

from launcher.commands import app

app(prog_name="esa")
