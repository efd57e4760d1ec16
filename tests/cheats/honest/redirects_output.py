# exercise: double
# outcome: pass
# why: redirects standard output
import contextlib
import io


def double(x):
    with contextlib.redirect_stdout(io.StringIO()):
        print("not to be seen")
    return x + x
