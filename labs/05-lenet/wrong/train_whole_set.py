# exercise: train
# outcome: wrong
# shows: Count the updates
# why: one minibatch of all pictures: eight updates in eight epochs
def train(x, y, seed):
    keras.utils.set_random_seed(seed)
    model = lenet()
    model.compile(keras.optimizers.Adam(0.003), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(x, y, batch_size=len(x), epochs=8, verbose=0)
    return tuple(model.get_weights())
