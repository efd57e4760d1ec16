# exercise: shift
# outcome: pass
# why: Isend and Irecv, waited for in another order than they were asked for
def shift(comm, x, by):
    y, again = np.empty_like(x), np.empty_like(x)
    left, right = (comm.rank - by) % comm.size, (comm.rank + by) % comm.size
    first, second = comm.Irecv(y, left), comm.Irecv(again, left)
    sent = [comm.Isend(x, right), comm.Isend(2 * x, right)]
    second.Wait()
    first.Wait()
    for request in sent:
        request.Wait()
    assert (again == 2 * y).all()
    return y
