"""What is asked of a model: a prompt of so many tokens, an answer of so many; and how far the answer is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from esa.errors import BadInput


class Request(NamedTuple):
    """prompt, output: tokens. The output's length is what a trace says; schedulers are not shown it, oracles are."""

    arrival_ns: int
    prompt: int
    output: int


class Life:
    """A request on its way. An iteration adds to `done`; the one that ends the prompt gives the first output token.

    prefill, decode: as a restart has made them of prompt and output: tokens that it had are part of its prompt then
    done:            tokens that keys and values are there for, and the one that comes next
    last_ns:         of its last token; ran_ns: the end of the last iteration that it was part of
    reserved:        tokens that its blocks have room for; replica: where it is
    """

    __slots__ = (
        "arrival_ns",
        "decode",
        "done",
        "end_ns",
        "first_ns",
        "first_token_ns",
        "last_ns",
        "number",
        "output",
        "prefill",
        "prompt",
        "ran_ns",
        "replica",
        "reserved",
        "restarts",
    )

    def __init__(self, number: int, request: Request) -> None:
        self.number = number
        self.arrival_ns, self.prompt, self.output = request
        self.prefill, self.decode = self.prompt, self.output
        self.done = 0
        self.restarts = 0
        self.reserved = 0
        self.replica = -1
        self.first_ns: int | None = None  # of its first iteration, the start
        self.first_token_ns: int | None = None
        self.last_ns: int = -1
        self.ran_ns = self.arrival_ns
        self.end_ns: int | None = None

    @property
    def prefilled(self) -> bool:
        return self.done >= self.prefill

    @property
    def finished(self) -> bool:
        return self.done >= self.prompt + self.output

    @property
    def emitted(self) -> int:
        """Output tokens that there are."""
        return max(self.done, self.prefill) - self.prompt

    @property
    def left(self) -> int:
        """Output tokens that are to come."""
        return self.prompt + self.output - max(self.done, self.prefill)

    def advance(self, tokens: int, now_ns: int) -> int | None:
        """An iteration with so many of its tokens is over: returns the time since its last token, if there is one."""
        self.done += tokens
        self.ran_ns = now_ns
        if self.done < self.prefill:
            return None
        if self.done == self.prefill:
            self.done += 1
        if self.done >= self.prompt + self.output:
            self.end_ns = now_ns
        gap = None if self.first_token_ns is None else now_ns - self.last_ns
        if gap is None:
            self.first_token_ns = now_ns
        self.last_ns = now_ns
        return gap

    def restart(self) -> None:
        """Keys and values are gone: all tokens that it had are its prompt now."""
        total = self.prompt + self.output
        self.prefill = max(self.done, self.prefill)
        self.decode = total - self.prefill
        self.done = 0
        self.restarts += 1


def check_requests(requests: Sequence[Request], most_tokens: int | None = None) -> None:
    """BadInput names the first that cannot be. most_tokens: of prompt and output together."""
    if not requests:
        raise BadInput("requests: none; allowed: at least one")
    for number, one in enumerate(requests):
        for what, value, lowest in (
            ("arrival_ns", one.arrival_ns, 0),
            ("prompt", one.prompt, 1),
            ("output", one.output, 1),
        ):
            if value < lowest:
                raise BadInput(f"request {number}: {what}: {value}; allowed: from {lowest}")
        if most_tokens is not None and one.prompt + one.output > most_tokens:
            raise BadInput(
                f"request {number}: {one.prompt} + {one.output} tokens; allowed: together up to {most_tokens}"
            )
