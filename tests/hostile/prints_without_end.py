# why: floods the output, and with it whatever keeps it
for _ in range(200_000):
    print("x" * 1000)
