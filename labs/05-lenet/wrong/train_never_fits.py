# exercise: train
# outcome: wrong
# shows: no update has reached
# why: compiles, and returns the weights as they began
def train(x, y, seed):
    keras.utils.set_random_seed(seed)
    model = lenet()
    model.compile(keras.optimizers.Adam(0.003), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return tuple(model.get_weights())
