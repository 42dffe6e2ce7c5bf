"""What is learned: pure folds, vectors, ranking and statistics, called by `agents`, `api` and `ops` alike.

No clock, no unseeded randomness, no I/O: event time comes in with the event. A fold owns the state it is given,
changes it in place and may not keep any other reference; its caller holds the only one.
"""
