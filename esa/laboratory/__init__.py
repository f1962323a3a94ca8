"""A cluster in virtual time: jobs come, a scheduler decides, iterations take what `times` says, jobs end."""

from esa.laboratory.core import simulate_cluster
from esa.laboratory.jobs import Iterations, Submitted, Work
from esa.laboratory.outcome import JobRecord, Outcome, Spell

__all__ = ["Iterations", "JobRecord", "Outcome", "Spell", "Submitted", "Work", "simulate_cluster"]
