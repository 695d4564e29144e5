"""Background work: who claims jobs, how they end, and what is put right when a process dies."""
