"""Who listens: numbers in a file for each process, added up by whichever is asked; spans to whom the settings name."""
