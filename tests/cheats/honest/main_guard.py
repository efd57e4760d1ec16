# exercise: double
# outcome: pass
# why: the usual guard, and a test below it
def double(x):
    return x + x


if __name__ == "__main__":
    print("a test:", double(np.ones(3, np.float32)))
