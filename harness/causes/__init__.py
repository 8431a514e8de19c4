"""One algebra of causes: takes a problem and deviations, gives what comes out with them.

A deviation is an edit at a site in a scope. A case of any form runs as a tape of operations; at every named site the
run asks whether it is edited there. Takes problems of ``cases``; gives expected values as ``reference`` does.
"""
