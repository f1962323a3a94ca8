"""Jobs from files, in the formats of those who published them, and jobs that are drawn."""
