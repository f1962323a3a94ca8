"""Control plane: jobs and policies as table entries of a P4Runtime switch; the command line `esactl`.

with Switch.connect("127.0.0.1:9559") as switch:
    controller = Controller(switch)
    controller.load(lanes=64)
    controller.add_job(read_job(Path("job.json")))
    controller.set_policy("digits", "atp")
    controller.counters("digits")["gradients"]
"""

from controller.client import Switch
from controller.controller import Controller
from controller.job_counters import Occupancy
from controller.job_files import SavedJobs, read_job
from controller.network import NetworkController, NetworkCoordinator
from controller.supervisor import Supervisor, Wanted
from controller.tls import Tls
from esa.entries.job_entries import Entry, Group, InstalledJob, Replica
from esa.errors import BadInput, NotPrimary, Refused, SwitchError, Unreachable

__all__ = [
    "BadInput",
    "Controller",
    "Entry",
    "Group",
    "InstalledJob",
    "NetworkController",
    "NetworkCoordinator",
    "NotPrimary",
    "Occupancy",
    "Refused",
    "Replica",
    "SavedJobs",
    "Supervisor",
    "Switch",
    "SwitchError",
    "Tls",
    "Unreachable",
    "Wanted",
    "read_job",
]
