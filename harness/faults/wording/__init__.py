"""Deviations in plain English: takes sites, edits and scopes, gives sentences, fixes and families."""
