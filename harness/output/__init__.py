"""What is shown and written: takes results, gives words, tables and files."""
