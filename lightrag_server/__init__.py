"""Knowledge-graph RAG server: documents in, a graph and vector indexes kept, cited answers out."""

__version__ = "0.1.0"
