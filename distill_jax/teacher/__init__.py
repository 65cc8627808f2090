"""The teacher: prompts, a client for OpenAI-compatible servers, the cache of its answers."""
