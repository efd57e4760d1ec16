# exercise: inception
# outcome: wrong
# shows: no bend between them
# why: the 1×1 convolutions have no ReLU: only the last convolution of a branch has
def inception(x, w1, w3_in, w3, w5_in, w5, w_pool):
    def conv(x, w):
        return ops.conv(x, w, padding="same")

    pooled = ops.max_pool(x, 3, strides=1, padding="same")
    branches = [conv(x, w1), conv(conv(x, w3_in), w3), conv(conv(x, w5_in), w5), conv(pooled, w_pool)]
    return ops.convert_to_numpy(ops.relu(ops.concatenate(branches, axis=-1)))
