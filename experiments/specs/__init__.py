"""What people write: scenarios, sweeps, faults; validated at the door."""
