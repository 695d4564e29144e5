"""OpenAI's API: chat completions over the documents, the models that stand for modes and workspaces, embeddings."""
