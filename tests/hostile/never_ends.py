# why: a cell that takes for ever, and catches what should stop it
while True:
    try:
        while True:
            pass
    except BaseException:
        continue
