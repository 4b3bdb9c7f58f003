"""How far apart the players of a room are: `make together`."""
