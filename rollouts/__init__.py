"""Generation engines for language models behind one interface."""
