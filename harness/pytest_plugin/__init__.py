"""The pytest plugin: takes ports, cases and backends as tests, gives their results and reports."""
