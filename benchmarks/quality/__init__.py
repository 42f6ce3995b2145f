"""How good students get from one example a label: arms against each other and against full data."""
