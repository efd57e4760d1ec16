# exercise: train
# outcome: wrong
# shows: they come, sorted
# why: takes the pictures in the order of the file, class after class
def train(x, y, seed):
    keras.utils.set_random_seed(seed)
    model = lenet()
    model.compile(keras.optimizers.Adam(0.003), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(x, y, batch_size=32, epochs=8, verbose=0, shuffle=False)
    return tuple(model.get_weights())
