"""Rerank vendors behind `ports.rerank`, and what surrounds every reranker."""
