"""Numbers, each with the command that makes it: `python -m benchmarks.<name> --json FILE`."""
