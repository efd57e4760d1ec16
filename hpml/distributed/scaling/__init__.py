"""The worker processes of `hpml bench scaling`, and the side that asks them for blocks of steps.

`with_keras.py`, `with_torch.py` and `with_mirrored.py` are run as scripts, the latter two by the Python of another environment that has
no hpml in it; so they import nothing of hpml but their neighbours here, by plain name.
"""
