# exercise: resnet
# outcome: wrong
# shows: learns nothing
# why: a 1×1 convolution in the shortcuts that change the size, as in ResNet-50
def network(shape, n, residual=True, widths=(16, 32, 64), classes=10):
    def conv_norm(x, width, stride=1, size=3):
        x = layers.Conv2D(width, size, stride, padding="same", use_bias=False)(x)
        return layers.BatchNormalization(momentum=0.9)(x)

    inputs = keras.Input(shape)
    x = layers.ReLU()(conv_norm(inputs, widths[0]))
    for stage, width in enumerate(widths):
        for block in range(n):
            stride = 2 if stage > 0 and block == 0 else 1
            y = layers.ReLU()(conv_norm(x, width, stride))
            y = conv_norm(y, width)
            if residual:
                y = y + (x if x.shape == y.shape else conv_norm(x, width, stride, 1))
            x = layers.ReLU()(y)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(classes)(x))


def resnet(pictures, n, residual):
    return reveal(network(pictures.shape[1:], n, bool(residual)), pictures)
