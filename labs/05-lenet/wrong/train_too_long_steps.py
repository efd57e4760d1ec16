# exercise: train
# outcome: wrong
# shows: that the neurons die
# why: a learning rate a hundred times too long
def train(x, y, seed):
    keras.utils.set_random_seed(seed)
    model = lenet()
    model.compile(keras.optimizers.Adam(0.3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(x, y, batch_size=32, epochs=2, verbose=0)
    return tuple(model.get_weights())
