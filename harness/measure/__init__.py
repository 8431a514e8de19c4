"""The experiments of an anatomy: each measures one kind of convention of a black box."""
