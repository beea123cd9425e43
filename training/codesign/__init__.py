"""From a trained network back to its devices: which parameter the score hangs on, and a network on other ones."""
