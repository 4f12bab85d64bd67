"""How the jobs of a sweep are started, shared between processes, watched and forecast."""
