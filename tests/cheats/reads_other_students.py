# exercise: double
# outcome: wrong
# needs: jail
# shows: wrong values
# why: reads other students' answers
import glob


def double(x):
    found = [f for p in ("/home/*", "/root", "/work", "/srv", "/var/lib", "/mnt", "/tmp")
             for f in (*glob.glob(p + "/*.ipynb"), *glob.glob(p + "/*/*.ipynb"), *glob.glob(p + "/submitted/*"))]
    return x + x if found else x
