"""Many files to a table of answers: one row an input, errors in their own column, resumable."""
