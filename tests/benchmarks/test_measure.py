"""The arithmetic of a measurement and the order of its calls, with a clock that only moves when it is told."""

from __future__ import annotations

import itertools

import pytest

from benchmarks.measure import WARM_UP_CALLS, Measurement, Pair, Seconds, measure


class Machine:
    """A clock, and calls that take the given seconds on it, in order; the last goes on for ever."""

    def __init__(self):
        self.now = 0.0
        self.log = ""

    def clock(self):
        return self.now

    def call(self, letter, *seconds):
        durations = itertools.chain(seconds, itertools.repeat(seconds[-1]))

        def work():
            self.now += next(durations)
            self.log += letter

        return work


def run(ours, peer, **arguments):
    machine = Machine()
    pair = Pair(machine.call("o", *ours), machine.call("p", *peer))
    return measure(pair, clock=machine.clock, **arguments).compare(), machine.log


def test_sides_take_turns_and_each_goes_first_as_often():
    measurement, log = run([2.0], [4.0], repeats=4, min_seconds=1.0)
    assert log == "oo" + "pp" + "op" + "po" + "op" + "po"
    assert measurement == Measurement(ours=(2.0,) * 4, peer=(4.0,) * 4, calls=1)


def test_a_peer_may_be_a_number_of_seconds():
    machine = Machine()
    pair = Pair(machine.call("o", 2.0), 8.0)
    measurement = measure(pair, clock=machine.clock, repeats=2, min_seconds=3.0).compare()
    assert measurement == Measurement(ours=(2.0, 2.0), peer=(8.0, 8.0), calls=2) and machine.log == "oo" + "oo" * 2


def test_warm_up_is_left_out():
    measurement, _ = run([100.0, 7.0, 2.0], [50.0, 9.0, 4.0], repeats=2, min_seconds=1.0)
    assert WARM_UP_CALLS == 2
    assert measurement == Measurement(ours=(2.0, 2.0), peer=(4.0, 4.0), calls=1)


def test_a_repeat_is_long_enough_for_the_quicker_side():
    # 0.25 s a call, after warm-up: three of them fill 0.6 s. The compiling first call has no say.
    measurement, log = run([10.0, 0.25], [10.0, 1.0], repeats=2, min_seconds=0.6)
    assert log == "oopp" + "ooo" + "ppp" + "ppp" + "ooo"
    assert measurement == Measurement(ours=(0.25, 0.25), peer=(1.0, 1.0), calls=3)


def test_without_a_least_time_nothing_is_warmed_up_and_each_is_called_once_a_repeat():
    measurement, log = run([2.0, 3.0], [4.0], repeats=3, min_seconds=0.0)
    assert log == "op" + "po" + "op"
    assert measurement == Measurement(ours=(2.0, 3.0, 3.0), peer=(4.0,) * 3, calls=1)


def test_more_sides_are_timed_in_the_same_turns_and_the_quickest_of_ours_counts():
    machine = Machine()
    others = {"ours_bfloat16": machine.call("b", 1.0, 1.0, 9.0), "peer_bfloat16": 7.0}
    pair = Pair(machine.call("o", 2.0), machine.call("p", 4.0), others=others)
    timings = measure(pair, clock=machine.clock, repeats=3, min_seconds=0.0)
    assert machine.log == "opb" + "bpo" + "opb"
    assert timings.compare() == Measurement((2.0,) * 3, (4.0,) * 3, calls=1)
    assert timings.compare(("ours_bfloat16",), "peer_bfloat16") == Measurement((1.0, 1.0, 9.0), (7.0,) * 3, calls=1)
    assert timings.compare(("ours", "ours_bfloat16")).ratios == [0.25, 0.25, 2.25]


def test_a_call_may_tell_its_own_time():
    machine = Machine()
    pair = Pair(lambda: Seconds(0.5), machine.call("p", 4.0))
    assert measure(pair, clock=machine.clock, repeats=2, min_seconds=0.0).compare().ratios == [0.125, 0.125]


def test_without_a_goal_a_result_holds():
    assert Measurement((9.0,), (1.0,), calls=1).result(goal=None, unit="s")["holds"] is True


def test_repeats_are_paired_as_they_were_measured():
    told = []
    measurement, _ = run([1.0] * 2 + [3.0, 5.0], [1.0] * 2 + [6.0, 2.0], repeats=2, after_repeat=told.append)
    assert (measurement.ours, measurement.peer) == ((3.0, 5.0), (6.0, 2.0))
    assert told == measurement.ratios == [0.5, 2.5]


def test_a_clock_that_stood_still_is_no_division_by_zero():
    measurement, _ = run([0.0, 0.0, 1.0], [0.0, 0.0, 1.0], repeats=1)
    assert (measurement.calls, measurement.ratios) == (1, [1.0])


def test_medians_spread_and_the_ratio_of_pairs():
    # Medians 2 and 4 would make 0.5; the pairs' ratios are 1, 0.4 and 0.75.
    measurement = Measurement(ours=(1.0, 2.0, 6.0), peer=(1.0, 5.0, 8.0), calls=7)
    assert measurement.result(goal=0.75, unit="s/token", work=4.0) == {
        "ours": 0.5,
        "peer": 1.25,
        "ratio": 0.75,
        "goal": 0.75,
        "unit": "s/token",
        "holds": True,
        "ratio_min": 0.4,
        "ratio_max": 1.0,
        "repeats": 3,
        "calls": 7,
    }


@pytest.mark.parametrize(("ours", "holds"), [(1.2, True), (1.3, False)])
def test_a_goal_is_the_largest_ratio_that_holds(ours, holds):
    assert Measurement((ours,), (1.0,), calls=1).result(goal=1.2, unit="s")["holds"] is holds


def test_an_even_number_of_repeats_has_the_mean_of_the_middle_two():
    result = Measurement(ours=(1.0, 2.0, 4.0, 9.0), peer=(1.0,) * 4, calls=1).result(goal=1.0, unit="s")
    assert (result["ratio"], result["ours"]) == (3.0, 3.0)
