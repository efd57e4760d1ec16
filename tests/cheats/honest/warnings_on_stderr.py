# exercise: double
# outcome: pass
# why: warnings on standard error
import sys
import warnings


def double(x):
    warnings.warn("this is only a warning")
    np.divide(1.0, np.zeros(1))
    print("über die Fehlerausgabe", file=sys.stderr)
    return x + x
