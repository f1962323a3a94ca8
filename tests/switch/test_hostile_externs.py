"""Anything at all, sent to programs with meters and action profiles: done, or refused by name without a trace."""

from __future__ import annotations

import copy
import json
import random
import threading
from collections.abc import Iterator

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from esa.switch import Pipeline, UnsupportedError
from esa.switch.p4runtime.forwarding import ForwardingConfig
from esa.switch.p4runtime.status import P4RuntimeError
from esa.switch.runtime.device import Device, Ports
from tests.effort import tries
from tests.switch import test_digests as digests
from tests.switch import test_idle as idle
from tests.switch import test_meters as meters
from tests.switch import test_p4runtime_profiles as profiles
from tests.switch import test_value_sets as value_sets
from tests.switch.control import PROGRAMS, Client, config, insert, modify, p4
from tests.switch.mutation import mutate_json, mutate_message
from tests.switch.served import load, primary_client

pytestmark = pytest.mark.timeout(90)
OK, INVALID = grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT
VAGUE = (grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL)  # what a refusal never is
ANY = settings(derandomize=True, max_examples=tries(60), deadline=None, suppress_health_check=list(HealthCheck))
flood, forward = profiles.action("flood", 1), profiles.action("forward", 1, 2)
VALID = {
    "ageing": [
        insert(idle.entry("exact_a", 1, 10**15)),
        modify(idle.entry("exact_a", 1)),
        insert(idle.entry("ternary_b", 3)),
    ],
    "digests": [
        insert(digests.digest(digests.LEARNED, max_list_size=2, ack_timeout_ns=5)),
        modify(digests.digest(digests.LEARNED, max_timeout_ns=2)),
        insert(digests.digest(digests.PAIR, max_list_size=2, ack_timeout_ns=5)),
    ],
    "meters": [
        insert(meters.entry(1, 1, 2, 3, 4)),
        modify(meters.meter("by_packet", 1, 1, 2, 3, 4)),
        modify(meters.meter("by_byte", None, 1, 2, 3, 4)),
        modify(meters.direct(1, 5, 6, 7, 8)),
    ],
    "value_sets": [
        modify(value_sets.kinds(b"\x02", b"\x04")),
        modify(value_sets.pairs((b"\x02", b"\xa0", b"\xf0"), (b"\x09", None, b""))),
    ],
    "selectors": [
        insert(profiles.member(1, "flood", 1)),
        insert(profiles.member(2, "forward", 3, 4)),
        insert(profiles.group(5, (1, 1), (2, 3), max_size=9, watch_port=b"\x03")),
        insert(profiles.entry(7, group=5)),
        insert(profiles.entry(8, member=2)),
        insert(profiles.one_shot(9, (flood, 1), (forward, 2), watch_port=b"\x04")),
        modify(profiles.group(5, (2, 1))),
        insert(profiles.member(1, "drop", profile="shared")),
        insert(profiles.entry(3, table="plain", member=1)),
    ],
}


def reads() -> list[p4.Entity]:
    """Requests for all state that a control plane can read of these programs."""
    table, default, cells, direct = p4.Entity(), p4.Entity(), p4.Entity(), p4.Entity()
    table.table_entry.meter_config.SetInParent()
    default.table_entry.is_default_action = True
    cells.meter_entry.SetInParent()
    direct.direct_meter_entry.table_entry.SetInParent()
    return [
        table,
        default,
        cells,
        direct,
        profiles.member(0, profile=""),
        profiles.group(0, profile=""),
        digests.digest(0),
        p4.Entity(value_set_entry=p4.ValueSetEntry()),
    ]


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Client, Device]]:
    with primary_client(push=False) as pair:
        yield pair


@pytest.mark.slow
@pytest.mark.parametrize("name", list(VALID))
def test_any_update_is_done_or_refused_by_name_without_a_trace(served: tuple[Client, Device], name: str) -> None:
    client = served[0]
    client.push(message=config(name))

    def everything() -> list[bytes]:
        return [found.SerializeToString() for found in client.read(*reads())]

    @ANY
    @given(rng=st.randoms(use_true_random=False))
    def check(rng: random.Random) -> None:
        if rng.random() < 0.1:
            client.push(message=config(name))
        update = copy.deepcopy(rng.choice(VALID[name]))
        for _ in range(rng.randint(0, 3)):
            mutate_message(update, rng)
        before = everything()
        (code,) = client.codes(update)
        assert code not in VAGUE
        assert code == OK or everything() == before

    check()


def refused(call):
    """What `call` returns, or the refusal that it raises; any other exception is a failure."""
    try:
        return call()
    except (P4RuntimeError, UnsupportedError) as refusal:
        return refusal


@pytest.mark.parametrize("name", list(VALID))
def test_any_p4info_is_taken_or_refused_by_name(name: str) -> None:
    pipeline = load((PROGRAMS / f"{name}.json").read_bytes())

    @ANY
    @given(rng=st.randoms(use_true_random=False))
    def check(rng: random.Random) -> None:
        message = config(name)
        for _ in range(rng.randint(1, 3)):
            mutate_message(message.p4info, rng)
        pipeline.reset()
        taken = refused(lambda: ForwardingConfig(message, lambda text: pipeline, Ports()))
        if isinstance(taken, P4RuntimeError):
            assert taken.code == INVALID
            return
        for update in VALID[name]:
            refusal = refused(lambda update=update: taken.write(update))
            assert refusal is None or refusal.code not in VAGUE
        for asked in reads():
            list(taken.read(asked, lambda: threading.Lock()))

    check()


@ANY
@given(rng=st.randoms(use_true_random=False), name=st.sampled_from(list(VALID)))
def test_any_program_is_taken_or_refused_by_name(rng: random.Random, name: str) -> None:
    root = json.loads((PROGRAMS / f"{name}.json").read_text())
    for _ in range(rng.randint(1, 3)):
        mutate_json(root, rng)
    assert str(refused(lambda: Pipeline.load(root, compiled=False)))
