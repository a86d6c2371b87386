"""The detection form of rollout-guided pruning as CUDA graphs, one full and one guided."""

from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn

from engine.vision.backbone.windowed import WindowedLayer, WindowedTower
from engine.vision.fused.capture import capture
from engine.vision.fused.layers import Workspace, finish_rows, norm_rows, project_rows
from engine.vision.rollout.windows import Buffers, WindowedRollout
from kernels.copy_rows import copy_rows
from kernels.join_heads import join_heads
from kernels.located_attention import attend_located
from kernels.track import track

Located = tuple[Tensor | None, Tensor | None, Tensor | None]


@dataclass(slots=True)
class _Plan:
    """Memory for so many streams, and what was recorded over it."""

    buffers: Buffers
    work: Workspace
    h: Tensor  # [T N, D]
    packed: Tensor  # [T N, D], of which guided frames use the first rows
    own: Tensor  # [T N, D], likewise
    kept: Tensor  # int64 [T, K]
    table: Tensor  # [N, D], positions
    graphs: dict[str, torch.cuda.CUDAGraph] = field(default_factory=dict)


@dataclass(slots=True)
class FusedWindows(WindowedRollout):
    """As `WindowedRollout`; only the products of what is kept are made, and no head's weights."""

    _plan: _Plan | None = field(default=None, init=False)

    def _scores(self, left: Buffers, embedded: Tensor) -> Tensor:
        return track(left.heat, left.embedded, embedded, self.tower.config.side, self.reach)

    def _full(self, embedded: Tensor) -> Buffers:
        plan = self._plan
        if plan is None or len(plan.kept) != len(embedded):
            plan = self._plan = self._planned(embedded)
        plan.buffers.embedded.copy_(embedded)
        self._run("full", partial(self._record_full, plan))
        plan.buffers.age = 1
        return plan.buffers

    def _guided(self, left: Buffers, embedded: Tensor, kept: Tensor) -> None:
        plan = self._plan
        assert plan is not None
        assert left is plan.buffers
        left.embedded.copy_(embedded)
        plan.kept.copy_(kept)
        self._run("guided", partial(self._record_guided, plan))

    def _run(self, kind: str, forward: "partial[None]") -> None:
        assert self._plan is not None
        graphs = self._plan.graphs
        if self.tower.position.device.type != "cuda":
            return forward()
        if kind not in graphs:
            graphs[kind] = capture(forward)
        return graphs[kind].replay()

    def _planned(self, embedded: Tensor) -> _Plan:
        config, (streams, tokens, width) = self.tower.config, embedded.shape
        rows = streams * tokens
        buffers = Buffers(
            [embedded.new_zeros(streams, tokens, 3 * width) for _ in range(config.layers)],
            {
                index: torch.zeros(streams, tokens, tokens, device=embedded.device)
                for index in range(config.layers)
                if index not in config.windowed
            },
            torch.zeros_like(embedded),
            torch.zeros_like(embedded),
            torch.zeros(streams, tokens, device=embedded.device),
        )
        h, packed, own = embedded.new_zeros(3, rows, width)
        kept = torch.zeros(streams, self.kept, dtype=torch.int64, device=embedded.device)
        work = Workspace.allocate(self.tower.layer(0), rows)
        return _Plan(buffers, work, h, packed, own, kept, self.tower.table().clone())

    def _begin(self, plan: _Plan) -> Tensor:
        """Hidden states of all tokens before layer 0, `[T N, D]`."""
        tower, embedded = self.tower, plan.buffers.embedded
        torch.add(embedded, plan.table, out=plan.packed.view(embedded.shape))
        if isinstance(tower.pre, nn.LayerNorm):
            return norm_rows(plan.packed, tower.pre, plan.h)
        return plan.h.copy_(plan.packed)

    def _record_full(self, plan: _Plan) -> None:
        h = self._begin(plan)
        everywhere = self._everywhere(plan)
        for index in range(self.tower.config.layers):
            layer, qkv = self.tower.layer(index), plan.buffers.qkv[index]
            project_rows(layer, h, plan.work, qkv.flatten(0, 1))
            mixed = self._attend_all(plan, layer, index, everywhere)
            finish_rows(layer, mixed.flatten(0, 1), h, plan.work, h)
        plan.buffers.out.copy_(h.view_as(plan.buffers.out))

    def _record_guided(self, plan: _Plan) -> None:
        h, streams = self._begin(plan), len(plan.kept)
        tokens, left = self.tower.config.tokens, plan.buffers
        starts = torch.arange(streams, device=h.device)[:, None] * tokens
        rows = (plan.kept + starts).int().flatten()
        work, own, packed = plan.work.first(len(rows)), plan.own[: len(rows)], plan.packed
        packed, everywhere = packed[: len(rows)], self._everywhere(plan)
        for index in range(self.tower.config.layers):
            layer, qkv = self.tower.layer(index), left.qkv[index]
            if index == 0:
                project_rows(layer, h, plan.work, qkv.flatten(0, 1))
                mixed = self._attend_all(plan, layer, index, everywhere)
                copy_rows(mixed.flatten(0, 1), rows, None, out=own)
                finish_rows(layer, own, h, work, packed, source=rows)
                continue
            project_rows(layer, packed, work, qkv.flatten(0, 1), target=rows)
            if layer.window:
                mixed = self._attend_all(plan, layer, index, everywhere)
                copy_rows(mixed.flatten(0, 1), rows, None, out=own)
                finish_rows(layer, own, packed, work, packed)
                continue
            q, k, v = _heads(qkv, layer.heads)
            at = plan.kept[:, None, :, None].expand(-1, layer.heads, -1, q.shape[-1])
            q = q.gather(2, at)
            where = _located(layer, q, plan.kept.int())
            mixed, sums = attend_located(q, k, v, *where)
            joined = join_heads(q, k, sums, *where)
            left.attention[index].flatten(0, 1).index_copy_(0, rows.long(), joined.flatten(0, 1))
            finish_rows(layer, mixed.view(len(rows), -1), packed, work, packed)
        copy_rows(packed, None, rows, out=left.out.flatten(0, 1))

    def _everywhere(self, plan: _Plan) -> Tensor:
        """Places `[T, N]` of all tokens."""
        places = torch.arange(self.tower.config.tokens, device=plan.h.device, dtype=torch.int32)
        return places.expand(len(plan.kept), -1).contiguous()

    def _attend_all(
        self, plan: _Plan, layer: WindowedLayer, index: int, everywhere: Tensor
    ) -> Tensor:
        """P `[T, N, D]` of all tokens; where a layer sees all its joined weights are kept."""
        qkv = plan.buffers.qkv[index]
        if not layer.window:
            q, k, v = _heads(qkv, layer.heads)
            where = _located(layer, q, everywhere)
            mixed, sums = attend_located(q, k, v, *where)
            join_heads(q, k, sums, *where, out=plan.buffers.attention[index])
            return mixed
        windows = layer.into_windows(qkv)
        q, k, v = _heads(windows, layer.heads)
        places = torch.arange(layer.window**2, device=qkv.device, dtype=torch.int32)
        where = _located(layer, q, places.expand(len(windows), -1).contiguous())
        return layer.from_windows(attend_located(q, k, v, *where)[0], len(qkv))


def roll_windows(
    tower: WindowedTower, keep: float, every: int = 8, *, pool: int = 1
) -> WindowedRollout:
    """Choose the graphs where kernels can run them: on a GPU, in half precision."""
    config, like = tower.config, tower.position
    size = config.width // config.heads
    half = like.is_cuda and like.dtype in (torch.bfloat16, torch.float16)
    fits = size >= 16 and not size & (size - 1) and not config.width % 8 and not config.mlp % 8
    return (FusedWindows if half and fits else WindowedRollout)(tower, keep, every, pool=pool)


def _heads(qkv: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values `[B, H, N, C]` of `[B, N, 3D]`, where they lie."""
    q, k, v = qkv.unflatten(2, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    return q, k, v


def _located(layer: WindowedLayer, q: Tensor, places: Tensor) -> Located:
    """What is added to scores for how far below and to the right a key lies."""
    if not layer.relative:
        return None, None, None
    return (q @ layer.down_by.T).contiguous(), (q @ layer.right_by.T).contiguous(), places
