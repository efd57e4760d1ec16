"""Lab 11's network, from Keras 3 or legacy Keras alike."""

from __future__ import annotations

from typing import Any

from serving import CHANNELS, CLASSES, SIDE, WIDTHS  # type: ignore[import-not-found]


def resnet(keras: Any) -> Any:
    """A small ResNet with group normalisation: a convolution, three residual blocks, a dense layer that gives logits.

    The architecture of labs/11-horovod/train.py, about 78,000 parameters. `keras`: the module `keras` or `tf_keras`.
    Input (N, SIDE, SIDE, CHANNELS), output (N, CLASSES).
    """
    layers = keras.layers

    def conv(x: Any, width: int, stride: int = 1, size: int = 3) -> Any:
        return layers.Conv2D(width, size, stride, padding="same", use_bias=False)(x)

    def norm(x: Any) -> Any:
        return layers.GroupNormalization(4)(x)

    inputs = layers.Input((SIDE, SIDE, CHANNELS))
    x = layers.Activation("silu")(norm(conv(inputs, WIDTHS[0])))
    for width in WIDTHS:
        stride = 1 if width == WIDTHS[0] else 2
        shortcut = x if stride == 1 else conv(x, width, stride, size=1)
        y = norm(conv(layers.Activation("silu")(norm(conv(x, width, stride))), width))
        x = layers.Activation("silu")(layers.Add()([shortcut, y]))
    return keras.Model(inputs, layers.Dense(CLASSES)(layers.GlobalAveragePooling2D()(x)))
