"""S-ViLM and its training step in PyTorch: the baseline of the train-step benchmarks.

Written from the method with standard PyTorch components: `nn.Linear`, `nn.LayerNorm`, `scaled_dot_product_attention`.
Modules are named as in the JAX model, so that its parameters can be copied (`copy_parameters`) and loss and gradients
compared before anything is timed (`train_step.py` does).
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from svilm_jax.config import Config
from svilm_jax.models.patch_embedding import PIXEL_MEAN, PIXEL_STD, token_grid
from svilm_jax.models.variants import tower_sizes

ACTIVATIONS = {"gelu": F.gelu, "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"), "relu": F.relu}


class Attention(nn.Module):
    """Multi-head attention over [B, N, D]."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        context = x if context is None else context
        query, key, value = (
            y.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for y in (self.query(x), self.key(context), self.value(context))
        )
        keep = None if mask is None else mask[:, None, None, :]
        return self.out(F.scaled_dot_product_attention(query, key, value, attn_mask=keep).transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """Two linear layers."""

    def __init__(self, width: int, ratio: float, activation: str):
        super().__init__()
        self.up, self.down = nn.Linear(width, int(width * ratio)), nn.Linear(int(width * ratio), width)
        self.activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.activation(self.up(x)))


class Layer(nn.Module):
    """Transformer block: pre-norm (video) or post-norm (text)."""

    def __init__(self, width: int, heads: int, ratio: float, activation: str, pre_norm: bool, epsilon: float):
        super().__init__()
        self.pre_norm = pre_norm
        self.attention_norm, self.mlp_norm = nn.LayerNorm(width, epsilon), nn.LayerNorm(width, epsilon)
        self.attention, self.mlp = Attention(width, heads), MLP(width, ratio, activation)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        if self.pre_norm:
            x = x + self.attention(self.attention_norm(x), mask=mask)
            return x + self.mlp(self.mlp_norm(x))
        x = self.attention_norm(x + self.attention(x, mask=mask))
        return self.mlp_norm(x + self.mlp(x))


class GroupingBlock(nn.Module):
    """Grouping block: cross-attention, hard straight-through assignment, update by the mean of assigned tokens."""

    def __init__(self, width: int, heads: int, ratio: float, activation: str, epsilon: float):
        super().__init__()
        for name in ("video_norm", "cross_norm", "assign_norm", "cross_mlp_norm", "update_mlp_norm"):
            setattr(self, name, nn.LayerNorm(width, epsilon))
        self.cross_attention = Attention(width, heads)
        self.cross_mlp, self.update_mlp = MLP(width, ratio, activation), MLP(width, ratio, activation)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, groups: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        x = self.video_norm(tokens)
        groups = groups + self.cross_attention(self.cross_norm(groups), context=x)
        groups = groups + self.cross_mlp(self.cross_mlp_norm(groups))
        logits = (self.query(self.assign_norm(groups)) @ self.key(x).transpose(1, 2)).float() * groups.shape[-1] ** -0.5
        soft = logits.softmax(dim=1)
        hard = F.one_hot(logits.argmax(dim=1), logits.shape[1]).transpose(1, 2).float()
        weights = hard - soft.detach() + soft  # [B, M, N]
        update = weights.to(x.dtype) @ self.value(x) / (weights.sum(dim=2, keepdim=True) + 1).to(x.dtype)
        groups = groups + self.out(update)
        return groups + self.update_mlp(self.update_mlp_norm(groups)), logits


class Stage(nn.Module):
    """Layers, followed by an optional grouping block."""

    def __init__(self, layers: nn.ModuleList, grouping: GroupingBlock | None):
        super().__init__()
        self.layers, self.grouping = layers, grouping


class Peer(nn.Module):
    """Both towers, the projections and the three losses."""

    def __init__(self, config: Config, vocab_size: int):
        super().__init__()
        model = config.model
        video, text = tower_sizes(model)
        self.grid, self.tubelet = token_grid(model.video), model.video.tubelet_size
        times, rows, columns = self.grid
        t, ph, pw = self.tubelet
        width = video.hidden_size
        self.patch = nn.Linear(t * ph * pw * 3, width)
        self.time_position = nn.Parameter(torch.zeros(times, width))
        self.space_position = nn.Parameter(torch.zeros(rows * columns, width))
        self.group_tokens = nn.Parameter(torch.zeros(model.grouping.num_groups, width))
        shape = (width, video.num_heads, model.video.mlp_ratio, model.video.activation)
        bounds = (0, *model.grouping.after_layers)
        stages = {}
        for number, stop in enumerate(bounds[1:], start=1):
            layers = nn.ModuleList(Layer(*shape, True, 1e-6) for _ in range(stop - bounds[number - 1]))
            stages[f"stage{number}"] = Stage(layers, GroupingBlock(*shape, 1e-6))
        if bounds[-1] < video.num_layers:
            layers = nn.ModuleList(Layer(*shape, True, 1e-6) for _ in range(video.num_layers - bounds[-1]))
            stages[f"stage{len(stages) + 1}"] = Stage(layers, None)
        self.stages = nn.ModuleDict(stages)
        self.token_norm, self.group_norm = nn.LayerNorm(width, 1e-6), nn.LayerNorm(width, 1e-6)
        self.token_embedding = nn.Embedding(vocab_size, text.hidden_size)
        self.position_embedding = nn.Parameter(torch.zeros(model.text.max_positions, text.hidden_size))
        self.segment_embedding = nn.Parameter(torch.zeros(2, text.hidden_size))
        self.embedding_norm = nn.LayerNorm(text.hidden_size, 1e-12)
        words = (text.hidden_size, text.num_heads, model.text.mlp_ratio, model.text.activation, False, 1e-12)
        self.text_layers = nn.ModuleList(Layer(*words) for _ in range(text.num_layers))
        self.video_projection = nn.Linear(width, model.embed_dim, bias=False)
        self.group_projection = nn.Linear(width, model.embed_dim, bias=False)
        self.text_projection = nn.Linear(text.hidden_size, model.embed_dim, bias=False)
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.register_buffer("mean", torch.tensor(PIXEL_MEAN).repeat(t * ph * pw), persistent=False)
        self.register_buffer("factor", (1 / torch.tensor(PIXEL_STD)).repeat(t * ph * pw), persistent=False)

    def encode_video(self, video: Tensor) -> tuple[Tensor, Tensor]:
        """Encodes uint8 [B, T, H, W, 3] -> tokens [B, Nt, Ns, D], groups [B, M, D]."""
        times, rows, columns = self.grid
        t, ph, pw = self.tubelet
        x = video.view(-1, times, t, rows, ph, columns, pw, 3).permute(0, 1, 3, 5, 2, 4, 6, 7).flatten(4).flatten(2, 3)
        x = self.patch((x.float() / 255 - self.mean) * self.factor)
        x = (x + self.time_position[:, None] + self.space_position).flatten(1, 2)
        groups = self.group_tokens.expand(x.shape[0], -1, -1)
        for stage in self.stages.values():
            both = torch.cat([x, groups.to(x.dtype)], dim=1)
            for layer in stage.layers:
                both = layer(both)
            x, groups = both.split([x.shape[1], groups.shape[1]], dim=1)
            if stage.grouping is not None:
                groups, _ = stage.grouping(groups, x)
        return self.token_norm(x).unflatten(1, (times, rows * columns)), self.group_norm(groups)

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Encodes token ids int [N, L], 0 for padding -> float32 [N, C], normalized."""
        x = self.token_embedding(tokens) + self.position_embedding[: tokens.shape[1]] + self.segment_embedding[0]
        x = self.embedding_norm(x)
        mask = tokens != 0
        mask = torch.cat([torch.ones_like(mask[:, :1]), mask[:, 1:]], dim=1)
        for layer in self.text_layers:
            x = layer(x, mask)
        return F.normalize(project(self.text_projection, x[:, 0]), dim=-1)

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Returns the sum of the three losses; `splice_mask` marks the foreground time indices."""
        tokens, groups = self.encode_video(batch["video"])
        clips = F.normalize(project(self.video_projection, tokens.float().mean(dim=(1, 2))), dim=-1)
        members = F.normalize(project(self.group_projection, groups), dim=-1)  # [B, M, C]
        captions = self.encode_text(batch["text"])
        nouns = self.encode_text(batch["nouns"].flatten(0, 1)).unflatten(0, batch["nouns"].shape[:2])  # [B, K, C]
        total = info_nce(clips @ captions.T * self.log_scale.clamp(max=float(np.log(100))).exp())
        cosine = torch.einsum("imc,jkc->imjk", members, nouns)
        total = total + info_nce(((cosine / 0.07).softmax(dim=1) * cosine).sum(dim=1).mean(dim=2) / 0.07)
        return total + temporal_grouping(tokens.float().mean(dim=2), batch["splice_mask"])


def make_train_step(
    peer: Peer, config: Config, batch: Mapping[str, np.ndarray], device: str, compiled: bool
) -> Callable[[], Tensor]:
    """Returns a function that takes one training step and returns the loss, without waiting for the device.

    Cut and paste, forward, backward, clipping and SGD with momentum; bfloat16 autocast and a fused optimizer on CUDA.
    """
    if device == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32 for what stays in float32
    peer.to(device)
    model = torch.compile(peer) if compiled else peer
    inputs = {name: torch.from_numpy(np.array(batch[name])).to(device) for name in ("video", "text", "nouns")}
    inputs |= {"text": inputs["text"].long(), "nouns": inputs["nouns"].long()}
    settings, times, rows = config.optimizer, peer.grid[0], len(batch["video"])
    block = min(config.splice.block or 8, rows)
    optimizer = torch.optim.SGD(
        peer.parameters(), 1e-4, settings.momentum, weight_decay=settings.weight_decay, fused=device == "cuda" or None
    )

    def step() -> Tensor:
        duration = torch.randint(times // 2 + 1, times, (rows, 1), device=device)
        start = (torch.rand(rows, 1, device=device) * (times - duration + 1)).long()
        index = torch.arange(times, device=device)
        mask = (index >= start) & (index < start + duration)
        keep = mask.repeat_interleave(peer.tubelet[0], dim=1)[:, :, None, None, None]
        others = inputs["video"].unflatten(0, (-1, block)).roll(1, dims=1).flatten(0, 1)
        spliced = torch.where(keep, inputs["video"], others)
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            loss = model({**inputs, "video": spliced, "splice_mask": mask})
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(peer.parameters(), settings.clip_norm)
        optimizer.step()
        return loss.detach()

    return step


def project(layer: nn.Linear, x: Tensor) -> Tensor:
    """Projects in float32, regardless of autocast."""
    with torch.autocast(x.device.type, enabled=False):
        return layer(x.float())


def info_nce(scores: Tensor) -> Tensor:
    """Returns InfoNCE, averaged over both directions."""
    own = torch.arange(len(scores), device=scores.device)
    return (F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own)) / 2


def temporal_grouping(z: Tensor, mask: Tensor, temperature: float = 0.1) -> Tensor:
    """Returns the mean squared distance of a_j from the mask; z [B, Nt, D], mask bool [B, Nt]."""

    def similarity(side: Tensor) -> Tensor:
        weights = side.float()[..., None]
        center = (z * weights).sum(dim=1, keepdim=True) / weights.sum(dim=1, keepdim=True).clamp(min=1)
        return F.cosine_similarity(z, center, dim=-1, eps=1e-12)

    foreground = ((similarity(mask) - similarity(~mask)) / temperature).sigmoid()
    return ((foreground - mask.float()) ** 2).mean()


def copy_parameters(peer: Peer, params: Mapping[str, Any]) -> None:
    """Copies the JAX model's parameters to the peer; every parameter of either must have a counterpart."""
    named = dict(_named(params))
    with torch.no_grad():
        for name, target in peer.named_parameters():
            source, index = _source(name)
            values = np.asarray(named[source] if index is None else named[source][index], np.float32)
            if name.endswith("weight") and values.ndim == 2 and "token_embedding" not in name:
                values = values.T
            target.copy_(torch.from_numpy(np.array(values, order="C")))
    used = {_source(name)[0] for name, _ in peer.named_parameters()}
    if left := named.keys() - used:
        raise ValueError(f"parameters without a counterpart in the peer: {sorted(left)}")


def _source(name: str) -> tuple[str, int | None]:
    """Returns the JAX name of a parameter of the peer, and its index in a stack of layers."""
    parts = name.split(".")
    video = not parts[0].startswith(("text_", "token_embedding", "position_", "segment_", "embedding_", "log_scale"))
    index = next((int(part) for part in parts if part.isdigit()), None)
    parts = ["stacked" if part.isdigit() else part for part in parts]
    leaf = parts[-1]
    norm = len(parts) > 1 and parts[-2].endswith("norm")
    parts[-1] = {"weight": "scale" if norm else "kernel"}.get(leaf, leaf)
    if parts[0] == "token_embedding":
        parts = ["token_embedding"]
    renamed = {"patch": ["patch_embedding", "linear"], "text_layers": ["layers"]}.get(parts[0], [parts[0]])
    whole = parts[0].endswith("_projection") or parts[0] == "log_scale"
    tower = [] if whole else ["video_tower" if video else "text_tower"]
    return ".".join([*tower, *renamed, *parts[1:]]), index


def _named(tree: Mapping[str, Any], prefix: str = "") -> Any:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _named(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
