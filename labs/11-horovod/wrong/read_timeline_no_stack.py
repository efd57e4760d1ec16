# exercise: read_timeline
# outcome: wrong
# shows: and is still open
# why: the end of a piece is taken for the end of the allreduce around it
def read_timeline(text):
    last, spent = {}, {}
    for event in json.loads(text):
        row = event["pid"]
        if event["ph"] == "B":
            last[row] = event["name"], event["ts"]
        elif event["ph"] == "E" and row in last:
            name, begin = last[row]
            spent.setdefault(name, []).append((event["ts"] - begin) / 1000)
    waiting, moving = spent["NEGOTIATE_ALLREDUCE"], spent.get("ALLREDUCE", [0.0])
    return np.array([np.median(waiting), np.median(moving), len(spent["MEMCPY_IN_FUSION_BUFFER"]) / len(waiting)])
