# exercise: count
# outcome: wrong
# shows: are not learned by gradients
# why: takes all four arrays of a batch normalisation for trainable
def count(text):
    parameters = trainable = macs = 0
    for row in json.loads(text):
        inputs, outputs = row["in"][-1], row["out"][-1]
        if row["kind"] == "BatchNormalization":
            learned, moving = outputs * (row["scale"] + row["center"] + 2), 0
        elif row["kind"] in ("Conv2D", "Dense"):
            height, width = row.get("kernel", (1, 1))
            weights = height * width * inputs // row.get("groups", 1) * outputs
            macs += weights * int(np.prod(row["out"][:-1]))
            learned, moving = weights + outputs * row["bias"], 0
        else:
            continue
        trainable += learned
        parameters += learned + moving
    return np.array([parameters, trainable, macs])
