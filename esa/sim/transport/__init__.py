"""How sums move in virtual time: the end hosts' own state machines, side by side."""
