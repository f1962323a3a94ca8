"""Prefill on some instances, decode on others, and each request's KV cache on a network between: in virtual time.

    served = serve_disaggregated(requests, prefill, decode, METHODS["hack"], kv_network, model)
    served[0].jct_ns, served[0].transfer_ns

A request goes to the prefill instance with the fewest tokens that wait or run. Prompts are done in their order, as many
in a batch as have `most_tokens` together, at least one; the first output token comes with them. Then the cache is
coded, and a decode instance pulls it as soon as it has room for all of the request's tokens to come (the one with the
most room; nobody overtakes). Where it has come, the request is part of every iteration until it is over.

Time is in whole nanoseconds. What happens at the same time happens in this order: prompts that are over, caches that
have come, iterations, requests that come.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from esa.errors import BadInput
from esa.serving.batches import Batch, decode_shape
from esa.serving.costs.stages import StageTimes
from esa.serving.kv_methods import Method, shape_of
from esa.serving.models import Gpu, Llm
from esa.serving.requests import Life, Request, check_requests

_PROMPTED, _CODED, _COME, _READY, _STEP, _ARRIVES = range(6)


class KvNetwork(Protocol):
    """Carries caches from prefill to decode instances."""

    def begin(self, number: int, source: int, target: int, octets: int, now_ns: int) -> None:
        """Request `number`'s cache sets off."""
        ...

    def next_ns(self) -> int | None:
        """When the next one is there, if no other sets off before."""
        ...

    def take(self, now_ns: int) -> Iterable[int]:
        """The requests whose caches are there by now, each once."""
        ...


@dataclass(frozen=True)
class Instances:
    """GPUs that serve as one, `count` times. times: of one stage.

    pace: how many times as long prompts take as `times` says. most_tokens: of a batch of prompts. cap: requests that
    decode together.
    """

    gpu: Gpu
    tp: int
    times: StageTimes
    count: int = 1
    pace: float = 1.0
    most_tokens: int = 4096
    cap: int = 128
    kv_bytes: float = 0.0  # of decode's memory, that caches have

    def __post_init__(self) -> None:
        for name in ("count", "most_tokens", "cap", "tp"):
            if getattr(self, name) < 1:
                raise BadInput(f"{name}: {getattr(self, name)}; allowed: from 1")
        if not 0 < self.pace < 1e6:
            raise BadInput(f"pace: {self.pace:g}; allowed: above 0, below 1e6")


class Served(NamedTuple):
    """A request, in ns: when it came, its prompt began and was over, its cache set off and was there, it was over.

    All after `prompted` are the same for an answer of one token. octets: on the wire.
    """

    arrival_ns: int
    began_ns: int
    prompted_ns: int
    pulled_ns: int
    come_ns: int
    end_ns: int
    octets: int
    output: int

    @property
    def jct_ns(self) -> int:
        return self.end_ns - self.arrival_ns

    @property
    def transfer_ns(self) -> int:
        """From the pull to where decode can go on."""
        return self.come_ns - self.pulled_ns

    @property
    def ttft_ns(self) -> int:
        """To the first token of the prefill instance."""
        return self.prompted_ns - self.arrival_ns


class _Prefill:
    def __init__(self) -> None:
        self.queue = deque[Life]()
        self.tokens = 0  # that wait or run
        self.batch: Batch | None = None


class _Decode:
    def __init__(self, room: float) -> None:
        self.room = room
        self.held: dict[int, int] = {}  # bytes, by request; from its pull on
        self.here: list[Life] = []
        self.batch: list[Life] = []


class _Run:
    def __init__(
        self, lives: Sequence[Life], prefill: Instances, decode: Instances, method: Method, network: KvNetwork,
        model: Llm, part: int,
    ) -> None:  # fmt: skip
        self.lives, self.network, self.method, self.model, self.part = lives, network, method, model, part
        self.prefill, self.decode = prefill, decode
        self.prompts = [_Prefill() for _ in range(prefill.count)]
        self.decodes = [_Decode(decode.kv_bytes) for _ in range(decode.count)]
        self.to_pull = deque[tuple[int, Life]]()
        self.target: dict[int, int] = {}
        self.times: dict[int, list[int]] = {life.number: [0] * 5 for life in lives}
        self.octets: dict[int, int] = {}
        self.due: list[tuple[int, int, int, int]] = []  # when, what, sequence, whose
        self.sequence = 0

    def push(self, when: int, what: int, whose: int) -> None:
        self.sequence += 1
        heapq.heappush(self.due, (when, what, self.sequence, whose))

    def loop(self) -> None:
        for life in self.lives:
            self.push(life.arrival_ns, _ARRIVES, life.number)
        steps = {
            _PROMPTED: self.prompted, _CODED: self.coded, _READY: self.ready, _STEP: self.step,
            _ARRIVES: self.arrives,
        }  # fmt: skip
        while True:
            there = self.network.next_ns()
            if there is not None and (not self.due or (there, _COME) < self.due[0][:2]):
                for number in self.network.take(there):
                    self.come(number, there)
            elif self.due:
                now, what, _, whose = heapq.heappop(self.due)
                steps[what](whose, now)
            else:
                return

    def arrives(self, number: int, now: int) -> None:
        life = self.lives[number]
        where = min(range(len(self.prompts)), key=lambda each: self.prompts[each].tokens)
        mine = self.prompts[where]
        life.replica = where
        mine.queue.append(life)
        mine.tokens += life.prompt
        self.begin(where, now)

    def begin(self, where: int, now: int) -> None:
        """A batch of prompts, if the instance has none and some wait."""
        mine = self.prompts[where]
        if mine.batch is not None or not mine.queue:
            return
        chosen = [mine.queue.popleft()]
        together = chosen[0].prompt
        while mine.queue and together + mine.queue[0].prompt <= self.prefill.most_tokens:
            chosen.append(mine.queue.popleft())
            together += chosen[-1].prompt
        mine.batch = Batch.whole(chosen)
        for life in chosen:
            self.times[life.number][0] = now
        took = self.prefill.times.stage_ns(mine.batch.shape) * self.prefill.pace + self.prefill.times.overhead_ns
        self.push(now + max(1, round(took)), _PROMPTED, where)

    def prompted(self, where: int, now: int) -> None:
        mine = self.prompts[where]
        assert mine.batch is not None
        lives, mine.batch = mine.batch.lives, None
        for life in lives:
            mine.tokens -= life.prompt
            life.advance(life.prompt, now)
            self.times[life.number][1:] = [now] * 4
            if life.end_ns is None:
                coding, _ = self._coding(self.prefill, life)
                self.push(now + coding, _CODED, life.number)
        self.begin(where, now)

    def _coding(self, where: Instances, life: Life) -> tuple[int, int]:
        return self.method.coding_ns(self.model, where.gpu, where.tp, life.prompt, self.part)

    def coded(self, number: int, now: int) -> None:
        self.to_pull.append((now, self.lives[number]))
        self.pull(now)

    def pull(self, now: int) -> None:
        """Caches that wait set off to where there is room."""
        shape = shape_of(self.model)
        while self.to_pull:
            life = self.to_pull[0][1]
            needs = self.method.stored(shape, life.prompt + life.output, self.part)
            where = max(range(len(self.decodes)), key=self._welcome)
            mine = self.decodes[where]
            if needs > mine.room or len(mine.held) >= self.decode.cap:
                if not mine.held:
                    raise BadInput(
                        f"request {life.number}: a cache of {needs / 2**20:.0f} MiB, decode has room for "
                        f"{mine.room / 2**20:.0f} MiB; allowed: what fits"
                    )
                return
            self.to_pull.popleft()
            mine.room -= needs
            mine.held[life.number] = needs
            self.target[life.number] = where
            self.times[life.number][2] = now
            octets = self.octets[life.number] = self.method.wire(shape, life.prompt, self.part)
            self.network.begin(life.number, life.replica, where, octets, now)

    def _welcome(self, where: int) -> tuple[bool, float]:
        mine = self.decodes[where]
        return len(mine.held) < self.decode.cap, mine.room

    def come(self, number: int, now: int) -> None:
        _, decoding = self._coding(self.decode, self.lives[number])
        self.push(now + decoding, _READY, number)

    def ready(self, number: int, now: int) -> None:
        self.times[number][3] = now
        where = self.target[number]
        self.decodes[where].here.append(self.lives[number])
        self.iterate(where, now)

    def iterate(self, where: int, now: int) -> None:
        mine = self.decodes[where]
        if mine.batch or not mine.here:
            return
        mine.batch = list(mine.here)
        requests, context = len(mine.batch), sum(life.done for life in mine.batch)
        self.push(now + self.iteration_ns(requests, context), _STEP, where)

    def iteration_ns(self, requests: int, context: int) -> int:
        """Of a token for each, with attention as the method has it."""
        read = self.method.part_read(self.model, max(1, context // requests), self.part)
        times, model = self.decode.times, self.model
        took = times.stage_ns(decode_shape(requests, round(context * read))) + times.overhead_ns
        extra = model.layers * self.method.extra_ns(model, self.decode.tp, context)
        return max(1, round(took + extra))

    def step(self, where: int, now: int) -> None:
        mine = self.decodes[where]
        for life in mine.batch:
            life.advance(1, now)
            if life.end_ns is not None:
                self.times[life.number][4] = now
                mine.room += mine.held.pop(life.number)
        mine.here = [life for life in mine.here if life.end_ns is None]
        mine.batch = []
        self.pull(now)
        self.iterate(where, now)


def serve_disaggregated(
    requests: Sequence[Request],
    prefill: Instances,
    decode: Instances,
    method: Method,
    network: KvNetwork,
    model: Llm,
    *,
    part: int = 64,
) -> list[Served]:
    """All requests, to their ends. part: of HACK's partitions. BadInput for requests that cannot be served."""
    check_requests(requests)
    lives = [Life(number, one) for number, one in enumerate(requests)]
    run = _Run(lives, prefill, decode, method, network, model, part)
    run.loop()
    found = []
    for life in lives:
        began, prompted, pulled, come, end = run.times[life.number]
        octets = run.octets.get(life.number, 0)
        found.append(Served(life.arrival_ns, began, prompted, pulled, come, end, octets, life.output))
    return found
