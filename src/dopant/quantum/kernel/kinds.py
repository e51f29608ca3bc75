"""Kinds of operations of a plan: (kind, a, b, c, d, e)."""

START = 0  # a rotations, b offset in idx, c first row
ROTATE = 1  # a rotations, b offset in idx, c first row, d orbits, e place of its scale
SHARED = 2  # a first entry of its table
SAMPLE = 3  # a strings, b offset in pat, c first row
GIVEN = 4  # the first of all: the states are there already
