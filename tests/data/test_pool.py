import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from al_lightning.data import LabelPool

UNITS = tuple(f"scene/{number:03d}" for number in range(10))


def test_a_pool_counts_cycles_from_the_seed_set() -> None:
    pool = LabelPool(UNITS)
    assert (pool.cycle, len(pool.labeled), len(pool.unlabeled)) == (-1, 0, 10)
    pool.acquire([7, 2])
    assert pool.cycle == 0
    pool.acquire(np.array([0]))
    assert pool.cycle == 1
    assert pool.acquired_at.tolist() == [1, -1, 0, -1, -1, -1, -1, 0, -1, -1]
    assert pool.labeled.tolist() == [0, 2, 7]
    assert pool.unlabeled.tolist() == [1, 3, 4, 5, 6, 8, 9]


@pytest.mark.parametrize("units", [[], [1, 1], [2]])
def test_no_unit_is_labeled_twice_and_no_cycle_is_empty(units: list[int]) -> None:
    pool = LabelPool(UNITS)
    pool.acquire([2])
    with pytest.raises(ValueError, match=r"units to acquire must be some and different|already labeled: scene/002"):
        pool.acquire(units)
    assert pool.labeled.tolist() == [2]


def test_ids_are_unique() -> None:
    with pytest.raises(ValueError, match="not unique"):
        LabelPool(["a", "a"])


@given(st.lists(st.integers(0, 9), unique=True, max_size=10), st.integers(1, 4))
def test_the_file_holds_everything(order: list[int], size: int) -> None:
    pool = LabelPool(['with,comma and "quotes"', *UNITS[1:]])
    for start in range(0, len(order), size):
        pool.acquire(order[start : start + size])
    again = LabelPool.from_csv(pool.to_csv())
    assert again.units == pool.units
    assert again.acquired_at.tolist() == pool.acquired_at.tolist()


@pytest.mark.parametrize("text", ["", "unit\na\n", "unit,acquired_at\na\n", "unit,acquired_at\na,x\n"])
def test_a_broken_file_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"columns unit and acquired_at|invalid literal"):
        LabelPool.from_csv(text)


def test_draws_depend_on_the_generator_alone_and_never_exceed_the_pool() -> None:
    pool = LabelPool(UNITS)
    pool.acquire([0, 1])
    first, second = (pool.draw(8, np.random.default_rng(3)) for _ in range(2))
    assert first.tolist() == second.tolist()
    assert sorted(first) == list(range(2, 10))
    with pytest.raises(ValueError, match="cannot draw 9 of 8"):
        pool.draw(9, np.random.default_rng(3))
