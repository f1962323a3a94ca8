"""A frozen dataclass with another `__init__` is what it was before."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, dataclass, field, replace

import pytest

from esa.fast_init import fast_init


@dataclass(frozen=True)
class Plain:
    first: int
    second: str = "b"
    third: dict[int, int] = field(default_factory=dict)
    fourth: bool = field(default=False, compare=False)

    def __post_init__(self) -> None:
        if self.first < 0:
            raise ValueError(f"first: {self.first}")


@fast_init
@dataclass(frozen=True)
class Quick(Plain):
    fifth: float = 0.5


@pytest.mark.parametrize(("by_place", "by_name"), [((1,), {}), ((1, "c"), {"fourth": True}), ((1, "c", {2: 3}), {})])
def test_fields_are_those_of_the_dataclass(by_place: tuple[object, ...], by_name: dict[str, object]) -> None:
    plain, quick = Plain(*by_place, **by_name), Quick(*by_place, **by_name)
    assert vars(quick) == vars(plain) | {"fifth": 0.5}
    assert quick == Quick(*by_place, **by_name) == pickle.loads(pickle.dumps(quick)) == copy.copy(quick)
    assert repr(quick) == repr(plain).replace("Plain", "Quick").replace(")", ", fifth=0.5)")


def test_nobody_shares_what_is_made_anew_and_nothing_can_be_assigned() -> None:
    one, other = Quick(1), Quick(1)
    assert one.third is not other.third
    assert replace(one, fifth=2.0) == Quick(1, fifth=2.0) != one
    assert one == replace(one, fourth=True)
    with pytest.raises(FrozenInstanceError):
        one.first = 2  # type: ignore[misc]


def test_what_is_wrong_is_refused_as_before() -> None:
    with pytest.raises(ValueError, match="first: -1"):
        Quick(-1)
    with pytest.raises(TypeError, match=r"Quick\.__init__\(\) missing 1 required positional argument: 'first'"):
        Quick()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"Slotted\.value: allowed: an argument of __init__"):

        @fast_init
        @dataclass(frozen=True, slots=True)
        class Slotted:
            value: int
