"""Cannot be imported."""

raise OSError("libcudart.so.99: cannot open shared object file")
