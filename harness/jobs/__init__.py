"""From a request to results: run, check, record, compare versions, read models."""
