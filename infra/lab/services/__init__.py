"""Stand-ins for the programs that no package brings, with the documented part of the real interfaces."""
