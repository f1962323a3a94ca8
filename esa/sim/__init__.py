"""Virtual time: the compiled P4 program, the real workers and PSs; only clock, links and computing are simulated.

outcome = simulate(Plan(fabric, jobs, timers))
"""

from esa.protocol.timers import Timers
from esa.sim.failure import Failure, FailureOutcome
from esa.sim.plan import Fabric, Flow, FlowOutcome, HostCosts, JobOutcome, Link, Outcome, Plan, SimulatedJob
from esa.sim.simulate import simulate
from esa.sim.transport.flow import FlowOptions
from esa.workloads import Bucket

__all__ = [
    "Bucket",
    "Fabric",
    "Failure",
    "FailureOutcome",
    "Flow",
    "FlowOptions",
    "FlowOutcome",
    "HostCosts",
    "JobOutcome",
    "Link",
    "Outcome",
    "Plan",
    "SimulatedJob",
    "Timers",
    "simulate",
]
