"""The circuits under test: a stimulus in, a recording out."""
