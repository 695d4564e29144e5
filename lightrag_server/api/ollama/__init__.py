"""Ollama's API: chats over the documents, plain generation, embeddings."""
