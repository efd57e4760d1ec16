"""One rank of `hpml bench scaling` with PyTorch: alone, or under DistributedDataParallel over Gloo (HPML_MEETING is set)."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
from serving import CHANNELS, CLASSES, MOMENTUM, RATE, WIDTHS, images, serve  # type: ignore[import-not-found]
from torch import nn


def conv(before: int, width: int, stride: int = 1, size: int = 3) -> Any:
    return nn.Conv2d(before, width, size, stride, padding=size // 2, bias=False)


def norm(width: int) -> Any:
    return nn.GroupNorm(4, width)


class Block(nn.Module):
    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        stride = 1 if before == width else 2
        self.body = nn.Sequential(conv(before, width, stride), norm(width), nn.SiLU(), conv(width, width), norm(width))
        self.shortcut = nn.Identity() if stride == 1 else conv(before, width, stride, size=1)

    def forward(self, x: Any) -> Any:
        return nn.functional.silu(self.shortcut(x) + self.body(x))


def resnet() -> nn.Sequential:
    """The network of model.py."""
    blocks = [Block(a, b) for a, b in zip((WIDTHS[0], *WIDTHS), WIDTHS, strict=False)]
    top = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTHS[-1], CLASSES)]
    return nn.Sequential(conv(CHANNELS, WIDTHS[0]), norm(WIDTHS[0]), nn.SiLU(), *blocks, *top)


def main() -> None:
    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    rank, meeting = int(os.environ["HPML_RANK"]), os.environ.get("HPML_MEETING")
    if meeting:
        torch.distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=int(os.environ["HPML_RANKS"]))
    torch.manual_seed(1)
    parameters = 0

    def step_with(layout: Any) -> Callable[[], Any]:
        nonlocal parameters
        model = resnet().to(memory_format=layout).train()
        parameters = sum(p.numel() for p in model.parameters())
        if meeting:
            model = nn.parallel.DistributedDataParallel(model)
        optimizer = torch.optim.SGD(model.parameters(), RATE, MOMENTUM)
        pixels, labels = (torch.from_numpy(a) for a in images(rank))
        pixels, labels = pixels.permute(0, 3, 1, 2).contiguous(memory_format=layout), labels.long()
        loss_of = nn.CrossEntropyLoss()

        def step() -> Any:
            optimizer.zero_grad(set_to_none=True)
            loss = loss_of(model(pixels), labels)
            loss.backward()
            optimizer.step()
            return loss.detach()

        return step

    what = "spread" if meeting else "alone"
    serve({what: step_with(torch.contiguous_format), f"{what}, channels last": step_with(torch.channels_last)}, parameters)


if __name__ == "__main__":
    main()
