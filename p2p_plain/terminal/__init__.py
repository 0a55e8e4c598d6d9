"""How things look on a terminal: events, the matrix, and a whole screen.

Read ``text`` first: how many columns a text takes.  Then ``event_lines`` (what a node prints),
``matrix_table`` (what ``matrix`` prints), and ``screen`` (a terminal that ``watch`` takes over and
gives back).  Only ``screen`` touches a terminal; the others return text.
"""
