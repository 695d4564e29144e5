"""The use cases: documents in, questions out. Knows ports and pure logic, no HTTP and no database."""
