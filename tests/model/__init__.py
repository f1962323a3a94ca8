"""A model of the truth: workers, PSs and the compiled P4 program in a network whose every move the test chooses."""
