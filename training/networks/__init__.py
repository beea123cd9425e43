"""Networks from a configuration."""
