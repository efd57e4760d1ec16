# exercise: inception
# outcome: wrong
# shows: in another order
# why: the pooled branch is concatenated first
def inception(x, w1, w3_in, w3, w5_in, w5, w_pool):
    def conv(x, w):
        return ops.relu(ops.conv(x, w, padding="same"))

    pooled = ops.max_pool(x, 3, strides=1, padding="same")
    branches = [conv(pooled, w_pool), conv(x, w1), conv(conv(x, w3_in), w3), conv(conv(x, w5_in), w5)]
    return ops.convert_to_numpy(ops.concatenate(branches, axis=-1))
