"""A loaded program that tells each of its steps: its text with calls of a tracer, run on the pipeline's own state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from esa.switch.compiler import build
from esa.switch.compiler.codegen import generate
from esa.switch.compiler.target import ENTRIES
from esa.switch.runtime.trace import Step
from esa.switch.runtime.tracer import Tracer


class Traced:
    """A pipeline's program, generated once more with calls of a tracer between its lines.

    `step`, or the two `halves`, take and do what the pipeline's own do, on the pipeline's state; but for the packet's
    vector, of which intermediate results take another number of cells in the other text.
    """

    def __init__(self, pipeline: Any, halves: bool) -> None:
        sites: list[object] = []
        source, layout = generate(
            pipeline.program, pipeline.title, queues=halves, priorities=pipeline.priorities, sites=sites
        )
        self._listener: Callable[[Step], object] = lambda step: None
        self.tracer = tracer = Tracer(pipeline, layout, sites, lambda step: self._listener(step))
        self.source = source
        module = build.plain_module(source, tracer.hooks())
        vectors = (np.zeros(layout.vector, np.int64), np.zeros(layout.vector, np.int64))
        self._state = module.State(*vectors, *pipeline.state[2:])
        entries = [self._on_own_vectors(getattr(module, name)) for name in ENTRIES[halves]]
        self.step = entries[0]
        self.halves = (entries[0], entries[1]) if halves else None

    def _on_own_vectors(self, entry: Callable[..., Any]) -> Callable[..., Any]:
        def run(state: Any, *arguments: Any) -> Any:
            with np.errstate(over="ignore"):
                return entry(self._state, *arguments)

        return run

    def listen(self, listener: Callable[[Step], object]) -> None:
        """Call `listener` with each step from now on."""
        self._listener = listener

    @contextmanager
    def heard_by(self, listener: Callable[[Step], object]) -> Iterator[None]:
        """Call `listener`, and no other, with each step inside."""
        before, self._listener = self._listener, listener
        try:
            yield
        finally:
            self._listener = before
