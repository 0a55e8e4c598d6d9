"""The commands: one module for each, and what those that ask a running node share.

Read ``run`` first: a node as a program is short, because ``common/program`` does most of it.  Then
``guest``, the connection on which every other command asks; ``asking``, their options and errors;
and ``ping``, ``matrix``, ``check``.  ``watch`` comes last: it draws a whole screen, and
``watch_panel`` is the picture.  ``help`` stands alone.

Each command is a function of its own name.  It takes the words after that name and returns the exit
code.  ``cli`` imports only the one that is typed.
"""
