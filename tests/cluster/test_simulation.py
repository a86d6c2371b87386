"""A few simulated nodes under the real flow: lanes stay full while nodes die, nothing is twice."""

from collections import Counter
from dataclasses import replace

from engine.cluster.encoding import room_for
from engine.cluster.flow import HELD
from tests.cluster.simulation import Machines, Simulation

FEW = Machines(gpu_nodes=2, cpu_nodes=8, decoders=4, lanes=8, gpu_frames_per_second=400.0)


def _made(machines: Machines, seconds: float = 60.0) -> Simulation:
    simulation = Simulation(machines, seed=1, warm_seconds=20.0)
    simulation.run(seconds)
    return simulation


def test_lanes_stay_full_while_nodes_die() -> None:
    made = _made(replace(FEW, node_lives_seconds=200.0))
    assert made.deaths > 0
    assert made.fullness > 0.9
    assert Counter(made.done.values()).keys() == {1}


def test_too_few_decoders_are_what_binds() -> None:
    """A simulation that said 90 % whatever it is given would say nothing."""
    few = _made(replace(FEW, cpu_nodes=2))
    assert few.fullness < 0.6


def test_no_more_pixels_exist_than_there_are_credits() -> None:
    slow = replace(FEW, gpu_frames_per_second=40.0)
    made = _made(slow)
    decoders = slow.cpu_nodes * slow.decoders
    assert made.most_parcels <= slow.gpu_nodes * room_for(slow.lanes) + HELD * decoders
    assert made.fullness > 0.9
