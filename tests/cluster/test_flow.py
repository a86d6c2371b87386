"""Credits: no more parcels than there is room for, every job done once, whatever dies when."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.cluster.flow import HELD, Decode, Encode, Flow

ROOM = 3


class Yard:
    """Plays decoders and encoders in an order that is drawn, and counts what exists."""

    def __init__(self, seed: int, *, sticky: bool) -> None:
        self.draw = random.Random(seed)
        self.flow: Flow[tuple[int, ...], tuple[int, int]] = Flow(sticky=sticky)
        self.decoding: list[tuple[str, tuple[int, ...]]] = []
        self.encoding: list[tuple[str, tuple[int, int]]] = []
        self.made = Counter[tuple[int, ...]]()
        self.done = Counter[tuple[int, int]]()
        self.homes: dict[int, set[str]] = {}
        self.alive: dict[str, str] = {}
        self.hired = 0

    def hire(self, kind: str) -> None:
        self.hired += 1
        name = f"{kind}{self.hired}"
        self.alive[name] = kind
        if kind == "decoder":
            self.flow.add_decoder(name, "here")
        else:
            self.flow.add_encoder(name, "here", ROOM)

    def step(self) -> None:
        for order in self.flow.orders():
            if isinstance(order, Decode):
                assert self.alive[order.decoder] == "decoder"
                assert order.begins == (self.made[order.job] == 0)
                self.decoding.append((order.decoder, order.job))
            else:
                assert isinstance(order, Encode)
                self.encoding.append((order.encoder, order.parcel))
                self.homes.setdefault(order.parcel[0], set()).add(order.encoder)
        held = Counter(name for name, _ in self.encoding)
        assert all(count <= ROOM for count in held.values())
        choices = [self._decode] * len(self.decoding) + [self._encode] * len(self.encoding)
        if choices:
            self.draw.choice(choices)()

    def _decode(self) -> None:
        name, job = self.decoding.pop(self.draw.randrange(len(self.decoding)))
        self.made[job] += 1
        at = self.made[job] - 1
        ends = self.made[job] == len(job) - 1
        self.flow.decoded(name, (job[0], job[1 + at]), ends=ends)

    def _encode(self) -> None:
        name, parcel = self.encoding.pop(self.draw.randrange(len(self.encoding)))
        self.flow.encoded(name, parcel)
        self.done[parcel] += 1

    def kill(self) -> None:
        name = self.draw.choice(sorted(self.alive))
        if self.alive[name] == "decoder":
            job = self.flow.lose_decoder(name)
            self.decoding = [each for each in self.decoding if each[0] != name]
            if job is not None:
                rest = (job[0], *job[1 + self.made[job] :])
                self.flow.offer(rest, rest[0], first=True)
        else:
            self.flow.lose_encoder(name)
            self.encoding = [each for each in self.encoding if each[0] != name]
        self.hire(self.alive.pop(name))


@given(seed=st.integers(0, 10**6), sticky=st.booleans(), kills=st.integers(0, 12))
@settings(max_examples=40, deadline=None)
def test_every_stretch_is_encoded_once_whatever_dies(seed: int, sticky: bool, kills: int) -> None:
    yard = Yard(seed, sticky=sticky)
    jobs = [
        (video, *range(10 * part, 10 * part + yard.draw.randint(1, 4)))
        for video in range(6)
        for part in range(yard.draw.randint(1, 5))
    ]
    for _ in range(3):
        yard.hire("decoder")
    for _ in range(2):
        yard.hire("encoder")
    for job in jobs:
        yard.flow.offer(job, job[0])
    steps = 0
    while not yard.flow.idle:
        if kills and yard.draw.random() < 0.1:
            kills -= 1
            yard.kill()
        yard.step()
        steps += 1
        assert steps < 5000, "it stands still"
    assert yard.done == Counter((job[0], stretch) for job in jobs for stretch in job[1:])
    assert not yard.decoding
    assert not yard.encoding


def test_decoders_wait_where_nobody_encodes() -> None:
    flow: Flow[int, int] = Flow()
    flow.add_decoder("d", "node")
    for job in range(10):
        flow.offer(job, job)
    made = 0
    for _ in range(20):
        for order in flow.orders():
            assert isinstance(order, Decode)
            made += 1
            flow.decoded("d", made, ends=True)
    assert made == HELD
    flow.add_encoder("e", "node", 1)
    assert [type(order) for order in flow.orders()] == [Encode, Decode]


def test_a_video_stays_with_its_encoder() -> None:
    flow: Flow[int, tuple[int, int]] = Flow(sticky=True)
    flow.add_decoder("d", "node")
    for name in ("a", "b"):
        flow.add_encoder(name, "node", 1)
    homes: dict[int, set[str]] = {0: set(), 1: set()}
    for job in range(8):
        flow.offer(job, job % 2)
    steps = 0
    while not flow.idle:
        for order in flow.orders():
            if isinstance(order, Decode):
                flow.decoded(order.decoder, (order.job % 2, order.job), ends=True)
            else:
                homes[order.parcel[0]].add(order.encoder)
                flow.encoded(order.encoder, order.parcel)
        steps += 1
        assert steps < 100
    assert [len(each) for each in homes.values()] == [1, 1]


def test_more_jobs_are_looked_for_only_as_they_are_needed() -> None:
    flow: Flow[int, int] = Flow()
    flow.add_decoder("d", "node")
    offered = 0
    while flow.hungry:
        flow.offer(offered, offered)
        offered += 1
        assert offered < 100
    assert offered == 2
    assert flow.clear() == [0, 1]
    assert flow.idle
    with pytest.raises(KeyError):
        flow.decoded("nobody", None, ends=True)
