"""Model vendors behind `ports.llm`, `ports.embedding` and `ports.rerank`. `registry` opens them by name."""
