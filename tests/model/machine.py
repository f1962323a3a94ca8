"""The same world under Hypothesis: it chooses every move, and shrinks what fails."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from esa.policy import POLICIES
from tests.model.checks import RuleError
from tests.model.moves import Move
from tests.model.plan import PLACES, JobPlan, Plan
from tests.model.world import World

policies = st.sampled_from(["esa", "atp", "switchml", *sorted(POLICIES)])
first_seqs = st.sampled_from([0, 2**32 - 2, 2**31 - 3])
windows = st.sampled_from([2, 1, 4])
fan_ins = st.integers(1, 4)
plans = st.builds(
    JobPlan, policy=policies, workers=fan_ins, window=windows, first_seq=first_seqs, servers=st.sampled_from([1, 2, 4])
).map(lambda plan: replace(plan, servers=min(plan.servers, plan.window)))
which = st.integers(0, 63)  # of the packets in flight, or of the hosts


class Cluster(RuleBasedStateMachine):
    """One or two jobs; nobody dies. At the end the network turns benign."""

    world: World | None = None

    @initialize(jobs=st.lists(plans, min_size=1, max_size=2), lanes=st.sampled_from([64, 64, 0]))
    def start(self, jobs: list[JobPlan], lanes: int) -> None:
        self.world = World(Plan(tuple(jobs), lanes), tracing=True)

    def do(self, *move: object) -> None:
        self._guarded(tuple(move))

    def _guarded(self, move: Move | None) -> None:
        world, self.world = self.world, None  # after a failure teardown has nothing more to say
        assert world is not None
        try:
            if move is None:
                world.settle()
            else:
                world.do(move)
        except RuleError:
            note("\n".join([str(world.plan), *world.trace[:60], *world.trace[60:][-60:]]))
            raise
        self.world = world

    def packet(self, number: int) -> str:
        labels = list(self.world.flight)
        return labels[number % len(labels)] if labels else ""

    def host(self, number: int) -> str:
        names = [host.name for run in self.world.runs.values() for host in run.hosts]
        return names[number % len(names)] if names else ""

    def job(self, number: int) -> int:
        return 1 + number % len(self.world.plan.jobs)

    @rule(number=which)
    def submit(self, number: int) -> None:
        self.do("submit", self.host(number))

    @rule(job=which, leave_out=st.sampled_from([-1, -1, 0, 1]))
    def submit_all(self, job: int, leave_out: int) -> None:
        run = self.world.runs.get(self.job(job))
        for worker in run.workers if run else ():
            if worker.rank != leave_out:
                self.do("submit", worker.name)

    @rule(count=st.integers(1, 12))
    def deliver_oldest(self, count: int) -> None:
        for _ in range(count):
            self.do("deliver", self.packet(0))

    @rule(number=which)
    def deliver(self, number: int) -> None:
        self.do("deliver", self.packet(number))

    @rule(number=which)
    def drop(self, number: int) -> None:
        self.do("drop", self.packet(number))

    @rule(number=which)
    def copy(self, number: int) -> None:
        self.do("copy", self.packet(number))

    @rule(number=which)
    def mark(self, number: int) -> None:
        self.do("mark", self.packet(number))

    @rule(number=which)
    def timer(self, number: int) -> None:
        self.do("timer", self.host(number))

    @rule(us=st.sampled_from([100, 3_000, 25_000, 1_000_000, 61_000_000]))
    def wait(self, us: int) -> None:
        self.do("wait", us)

    @rule(job=which, name=st.sampled_from(sorted(POLICIES)))
    def change_policy(self, job: int, name: str) -> None:
        self.do("policy", self.job(job), name)

    @rule(job=which, place=st.sampled_from(PLACES))
    def place(self, job: int, place: tuple[int, int]) -> None:
        self.do("place", self.job(job), *place)

    @rule(job=which)
    def tell_server(self, job: int) -> None:
        run = self.world.runs.get(self.job(job))
        if run:
            self.do("tell-server", self.job(job), run.policy.name)

    @rule(job=which, plan=plans)
    def add_again(self, job: int, plan: JobPlan) -> None:
        number = self.job(job)
        self.do("remove", number)
        self.do("add", number, plan.policy, plan.workers, plan.window, plan.first_seq, plan.servers)

    @rule(job=which, server_lives=st.booleans())
    def run_again(self, job: int, server_lives: bool) -> None:
        self.do("run-again", self.job(job), server_lives)

    @rule(job=which)
    def tell_the_server_of_the_run(self, job: int) -> None:
        self.do("tell", self.job(job))

    @rule()
    def restart_switch(self) -> None:
        self.do("restart")

    @rule()
    def load_entries(self) -> None:
        self.do("reload")

    @rule(job=which)
    def restart_server(self, job: int) -> None:
        self.do("restart-server", self.job(job))

    def teardown(self) -> None:
        if self.world is not None:
            self._guarded(None)


class Mortals(Cluster):
    """As Cluster, and members die for good."""

    @rule(number=which)
    def kill(self, number: int) -> None:
        self.do("kill", self.host(number))
