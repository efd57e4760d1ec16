"""Writes `models.json`: the layers of the models that the lab counts, one description for each layer that has weights.

    python models.py

Those of keras.applications are read from the models themselves. AlexNet, GoogLeNet, ResNet-34 and ResNeXt, which Keras does not have, are
written down here from their papers: Krizhevsky 2012 (two columns), Szegedy 2015 (without the auxiliary classifiers), He 2015, Xie 2017.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
KERAS = ("VGG16", "VGG19", "ResNet50", "ResNet101", "ResNet152", "InceptionV3", "DenseNet121", "MobileNet")
Row = dict[str, Any]


def conv(height: int, channels: int, filters: int, kernel: int, stride: int = 1, groups: int = 1, bias: bool = False) -> Row:
    """A padded convolution of square pictures."""
    out = -(-height // stride)
    return {"kind": "Conv2D", "in": [height, height, channels], "out": [out, out, filters], "kernel": [kernel, kernel], "groups": groups,
            "bias": bias}


def dense(inputs: int, outputs: int) -> Row:
    return {"kind": "Dense", "in": [inputs], "out": [outputs], "bias": True}


def norm(height: int, channels: int) -> Row:
    shape = [height, height, channels]
    return {"kind": "BatchNormalization", "in": shape, "out": shape, "scale": True, "center": True}


def alexnet() -> list[Row]:
    """As published: layers 2, 4 and 5 see half of the channels, one half on each of two GPUs. The first layer takes 227 to 55."""
    first = conv(55, 3, 96, 11, bias=True) | {"in": [227, 227, 3]}
    return [first, conv(27, 96, 256, 5, groups=2, bias=True), conv(13, 256, 384, 3, bias=True), conv(13, 384, 384, 3, groups=2, bias=True),
            conv(13, 384, 256, 3, groups=2, bias=True), dense(9216, 4096), dense(4096, 4096), dense(4096, 1000)]


INCEPTION = {28: [(64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)],
             14: [(192, 96, 208, 16, 48, 64), (160, 112, 224, 24, 64, 64), (128, 128, 256, 24, 64, 64), (112, 144, 288, 32, 64, 64),
                  (256, 160, 320, 32, 128, 128)],
             7: [(256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)]}


def googlenet() -> list[Row]:
    """Nine inception blocks: 1×1; 1×1 then 3×3; 1×1 then 5×5; pool then 1×1."""
    rows = [conv(224, 3, 64, 7, 2, bias=True), conv(56, 64, 64, 1, bias=True), conv(56, 64, 192, 3, bias=True)]
    channels = 192
    for height, blocks in INCEPTION.items():
        for one, three_in, three, five_in, five, pool in blocks:
            rows += [conv(height, channels, one, 1, bias=True), conv(height, channels, three_in, 1, bias=True),
                     conv(height, three_in, three, 3, bias=True), conv(height, channels, five_in, 1, bias=True),
                     conv(height, five_in, five, 5, bias=True), conv(height, channels, pool, 1, bias=True)]
            channels = one + three + five + pool
    return [*rows, dense(channels, 1000)]


def resnext(groups: int, width: int, blocks: tuple[int, ...] = (3, 4, 23, 3)) -> list[Row]:
    """ResNeXt-101 (groups × width d): bottlenecks whose 3×3 convolution is divided into groups, and has the stride."""
    rows, channels, height = [conv(224, 3, 64, 7, 2), norm(112, 64)], 64, 56
    for stage, count in enumerate(blocks):
        inner, outer = groups * width * 2**stage, 256 * 2**stage
        for block in range(count):
            stride = 2 if stage and not block else 1
            out = height // stride
            rows += [conv(height, channels, inner, 1), norm(height, inner), conv(height, inner, inner, 3, stride, groups), norm(out, inner),
                     conv(out, inner, outer, 1), norm(out, outer)]
            if not block:
                rows += [conv(height, channels, outer, 1, stride), norm(out, outer)]
            channels, height = outer, out
    return [*rows, dense(channels, 1000)]


def resnet34() -> list[Row]:
    """Two 3×3 convolutions a block (He 2015), 1×1 convolutions in the three shortcuts where the width changes."""
    rows, channels, height = [conv(224, 3, 64, 7, 2), norm(112, 64)], 64, 56
    for stage, count in enumerate((3, 4, 6, 3)):
        width = 64 * 2**stage
        for block in range(count):
            stride = 2 if stage and not block else 1
            out = height // stride
            rows += [conv(height, channels, width, 3, stride), norm(out, width), conv(out, width, width, 3), norm(out, width)]
            if stride == 2:
                rows += [conv(height, channels, width, 1, stride), norm(out, width)]
            channels, height = width, out
    return [*rows, dense(channels, 1000)]


def describe(model: Any) -> list[Row]:
    """The layers of a Keras model that have weights."""
    rows: list[Row] = []
    for layer in model.layers:
        kind, before, after = type(layer).__name__, layer.input, list(layer.output.shape[1:])
        if isinstance(before, list) or not layer.weights:
            continue
        row: Row = {"kind": kind, "in": list(before.shape[1:]), "out": after}
        if kind in ("Conv2D", "DepthwiseConv2D"):
            groups = layer.groups if kind == "Conv2D" else before.shape[-1]
            row |= {"kind": "Conv2D", "kernel": list(layer.kernel_size), "groups": groups, "bias": layer.use_bias}
        elif kind == "Dense":
            row |= {"bias": layer.use_bias}
        elif kind == "BatchNormalization":
            row |= {"scale": layer.scale, "center": layer.center}
        rows.append(row)
    return rows


def main() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras

    found = {"AlexNet": alexnet(), "GoogLeNet": googlenet(), "ResNet34": resnet34(), "ResNeXt-101-32x4d": resnext(32, 4),
             "ResNeXt-101-64x4d": resnext(64, 4)}
    for name in KERAS:
        found[name] = describe(getattr(keras.applications, name)(weights=None))
        keras.backend.clear_session()
    text = ",\n".join(f'"{name}": [\n' + ",\n".join(json.dumps(row) for row in rows) + "]" for name, rows in sorted(found.items()))
    (HERE / "models.json").write_text("{" + text + "}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
