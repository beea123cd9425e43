"""docs/paper.md: its plan, its experiments, its text."""
