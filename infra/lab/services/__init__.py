"""Stand-ins for the programs that no package brings: they speak the documented part of the real interfaces."""
