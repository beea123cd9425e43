"""How results look: figures, pages, the terminal."""
