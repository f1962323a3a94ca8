"""Importing this loads both engines' machine code, if it is compiled: for processes that others are forked from."""

from esa.hosts.compiled import is_compiled
from esa.hosts.server import ServerEndpoint
from esa.hosts.worker import WorkerEndpoint

if is_compiled():
    ServerEndpoint.compile()
    WorkerEndpoint.compile()
