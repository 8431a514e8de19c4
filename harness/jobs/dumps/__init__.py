"""Arrays that people dumped: takes a file of inputs, weights and outputs, gives problems and traces, judged."""
