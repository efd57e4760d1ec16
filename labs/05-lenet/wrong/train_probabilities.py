# exercise: train
# outcome: wrong
# shows: believes the scores to be probabilities
# why: the loss takes the scores for probabilities
def train(x, y, seed):
    keras.utils.set_random_seed(seed)
    model = lenet()
    model.compile(keras.optimizers.Adam(0.003), keras.losses.SparseCategoricalCrossentropy(from_logits=False))
    model.fit(x, y, batch_size=32, epochs=8, verbose=0)
    return tuple(model.get_weights())
