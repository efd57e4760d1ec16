# exercise: resnet
# outcome: wrong
# shows: no bias survives
# why: every convolution keeps its bias, as Keras does by itself
def network(shape, n, residual=True, widths=(16, 32, 64), classes=10):
    def conv_norm(x, width, stride=1):
        x = layers.Conv2D(width, 3, stride, padding="same")(x)
        return layers.BatchNormalization(momentum=0.9)(x)

    inputs = keras.Input(shape)
    x = layers.ReLU()(conv_norm(inputs, widths[0]))
    for stage, width in enumerate(widths):
        for block in range(n):
            stride = 2 if stage > 0 and block == 0 else 1
            y = layers.ReLU()(conv_norm(x, width, stride))
            y = conv_norm(y, width)
            if residual:
                new = width - x.shape[-1]
                y = y + ops.pad(x[:, ::stride, ::stride], [(0, 0), (0, 0), (0, 0), (0, new)])
            x = layers.ReLU()(y)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(classes)(x))


def resnet(pictures, n, residual):
    return reveal(network(pictures.shape[1:], n, bool(residual)), pictures)
