# exercise: lenet
# outcome: wrong
# shows: compare the activations, layer by layer
# why: no ReLU after the convolutions
@network
def lenet():
    return keras.Sequential([
        keras.Input((28, 28, 1)),
        keras.layers.Conv2D(6, 5, padding="same"),
        keras.layers.MaxPooling2D(2),
        keras.layers.Conv2D(16, 5),
        keras.layers.MaxPooling2D(2),
        keras.layers.Flatten(),
        keras.layers.Dense(120, activation="relu"),
        keras.layers.Dense(84, activation="relu"),
        keras.layers.Dense(10),
    ])
