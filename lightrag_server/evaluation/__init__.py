"""`lightrag-server eval`: how well documents are found and questions answered, measured, reported and compared."""
