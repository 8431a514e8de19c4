"""What is run: takes a problem, gives a trace, through a backend or a user's file in a process of its own."""
