"""How things look on a terminal: output, colour, event lines, the matrix, the screen."""
