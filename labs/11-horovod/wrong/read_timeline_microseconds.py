# exercise: read_timeline
# outcome: wrong
# shows: microseconds
# why: the file's microseconds are returned as milliseconds
def read_timeline(text):
    still_open, spent = {}, {}
    for event in json.loads(text):
        row = still_open.setdefault(event["pid"], [])
        if event["ph"] == "B":
            row.append((event["name"], event["ts"]))
        elif event["ph"] == "E":
            name, begin = row.pop()
            spent.setdefault(name, []).append(event["ts"] - begin)
    moving = spent["ALLREDUCE"]
    fused = len(spent.get("MEMCPY_IN_FUSION_BUFFER", [])) / len(moving)
    return np.array([np.median(spent["NEGOTIATE_ALLREDUCE"]), np.median(moving), fused])
