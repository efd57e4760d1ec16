# exercise: read_timeline
# outcome: wrong
# shows: The broadcast at the start is in your medians
# why: every negotiation and every collective counts
def read_timeline(text):
    still_open, waiting, moving, fused = {}, [], [], 0
    for event in json.loads(text):
        row = still_open.setdefault(event["pid"], [])
        if event["ph"] == "B":
            row.append((event["name"], event["ts"]))
            fused += event["name"] == "MEMCPY_IN_FUSION_BUFFER"
        elif event["ph"] == "E":
            name, begin = row.pop()
            if name.startswith("NEGOTIATE"):
                waiting.append((event["ts"] - begin) / 1000)
            elif name in ("ALLREDUCE", "BROADCAST"):
                moving.append((event["ts"] - begin) / 1000)
    return np.array([np.median(waiting), np.median(moving), fused / len(moving)])
