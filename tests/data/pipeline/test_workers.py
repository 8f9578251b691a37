"""Tests of the process pool: results of one process, and a clean end after failures."""

import os

import pytest
from svilm_data.pipeline.errors import PreparationError
from svilm_data.pipeline.workers import QUEUE_FACTOR, Workers, open_workers


def double(number: int) -> int:
    return 2 * number


def die(number: int) -> int:
    if number == 7:
        os._exit(3)
    return number


def test_order_and_result_do_not_depend_on_the_number_of_processes():
    for count in (1, 2):
        with open_workers(count) as workers:
            assert list(workers.map(double, iter(range(100)), task="test", chunk=3)) == [2 * i for i in range(100)]
            assert list(workers.map(double, [5], task="test", chunk=3)) == [10]
            assert list(workers.map(double, [], task="test")) == []


def test_items_are_asked_for_only_as_work_goes_on():
    asked = []

    def items():
        for i in range(10_000):
            asked.append(i)
            yield i

    with open_workers(2) as workers:
        results = workers.map(double, items(), task="test", chunk=2)
        assert next(results) == 0
        assert len(asked) <= 2 * (2 * QUEUE_FACTOR + 2)


def test_a_process_that_dies_is_named_as_such():
    with open_workers(2) as workers, pytest.raises(PreparationError, match=r"a worker process died.*--workers 1"):
        list(workers.map(die, range(40), task="checking videos", chunk=2))


def test_at_least_one_process():
    with pytest.raises(PreparationError, match="--workers 0: expected"):
        Workers(0)
